package smoke

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"quern/convert/gguf"
	"quern/quantize/llamacpp"
	"quern/stages/job"
)

// A projector is tried beside its model: what its keys say must be what its tensors are, and what it makes must fit the model. Where
// the runtime has llama.cpp's multimodal library the model is shown two pictures, or played two sounds, that differ.

// withPicture tries the projector a beside the model that it is made for.
func withPicture(ctx context.Context, rt *llamacpp.Runtime, s *job.State, a *job.Artifact) (*Report, error) {
	t := &run{ctx: ctx, r: &Report{}}
	file, err := readBack(a.Path)
	if err != nil {
		t.fail(nameLoad, err.Error(), "", "the file is not what was planned: write it again with --force")
		return t.r, nil
	}
	t.pass(nameLoad, fmt.Sprintf("%d keys, %d tensors", len(file.Metadata), len(file.Outputs)), "", 0)
	model := s.Host()
	t.checkProjector(&file.Plan, &model.Plans[0])
	if t.r.Count(Failed) > 0 {
		return t.r, nil
	}
	if !rt.HasMultimodal() {
		t.skip(namePicture, blind)
		return t.r, nil
	}
	return t.r, t.perceive(rt, s, model.Path, a.Path)
}

// blind is why nothing was shown.
const blind = "no picture was shown: this llama.cpp runtime has no multimodal library (libmtmd); --llama-lib names a build that has one"

// checkBeside tries the projector that was named, beside the model that is loaded.
func (t *run) checkBeside() error {
	projector, err := readBack(t.o.Projector)
	if err != nil {
		return err
	}
	model, err := readBack(t.o.Model.Path)
	if err != nil {
		return err
	}
	failed := t.r.Count(Failed)
	t.checkProjector(&projector.Plan, &model.Plan)
	if t.r.Count(Failed) > failed {
		return nil
	}
	return t.show(t.child, t.model.Slot, t.o.Projector, t.o.Context.Threads)
}

// readBack reads the header that was written.
func readBack(path string) (*gguf.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return gguf.Read(path, f, fi.Size())
}

// checkProjector compares a projector's keys with its tensors and with the model that it is loaded beside.
func (t *run) checkProjector(p, model *gguf.Plan) {
	var towers, wrong []string
	for _, w := range []tower{{"vision", "v."}, {"audio", "a."}} {
		if has, _ := p.Bool("clip.has_" + w.sense + "_encoder"); !has {
			continue
		}
		kind, ok := p.String("clip." + w.sense + ".projector_type")
		if !ok {
			kind, _ = p.String("clip.projector_type")
		}
		towers = append(towers, w.sense+" ("+kind+")")
		wrong = append(wrong, w.differences(p, kind)...)
		t.checkWidth(p, model, w)
	}
	t.judge(len(towers) > 0, Check{Name: nameTowers, Value: strings.Join(towers, ", "), Limit: "vision, audio or both", Next: "the file has no tower that llama.cpp would load"})
	value := fmt.Sprintf("%d tensors as the keys say", len(p.Outputs))
	if len(wrong) > 0 {
		value = wrong[0]
	}
	t.judge(len(wrong) == 0, Check{Name: nameShapes, Value: value, Next: "config.json and the tensors are not of the same model"})
}

// tower is one half of a projector's file.
type tower struct{ sense, prefix string }

// checkWidth wants what the projector makes to be as wide as the model's embeddings.
func (t *run) checkWidth(p, model *gguf.Plan, w tower) {
	made, ok := p.Int("clip." + w.sense + ".projection_dim")
	want, known := model.Int(model.Architecture() + ".embedding_length")
	if !ok || !known {
		t.skip(nameWidth, "the files do not tell it")
		return
	}
	t.judge(made == want, Check{Name: nameWidth, Value: fmt.Sprintf("%s embeddings of %d", w.sense, made), Limit: fmt.Sprintf("%d, the model's", want), Score: float64(made),
		Next: "the projector belongs to another model"})
}

// freeLayers are the projectors whose towers have no numbered layers of one width: a MobileNet, or none at all.
var freeLayers = []string{"gemma3nv", "gemma4uv", "gemma4ua"}

// differences lists the tensors of the tower's layers that are not what its keys say, and the layers that are missing.
func (w tower) differences(p *gguf.Plan, kind string) []string {
	if slices.Contains(freeLayers, kind) {
		return nil
	}
	embd, _ := p.Int("clip." + w.sense + ".embedding_length")
	count, _ := p.Int("clip." + w.sense + ".block_count")
	layers := map[int64]bool{}
	var wrong []string
	for _, o := range p.Outputs {
		rest, ok := strings.CutPrefix(o.Name, w.prefix+"blk.")
		if !ok {
			continue
		}
		number, role, _ := strings.Cut(rest, ".")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			continue
		}
		layers[n] = true
		if want, ok := layerShape(role, embd); ok && len(o.Shape) == 2 && !fits(o.Shape, want) {
			wrong = append(wrong, fmt.Sprintf("%s has the shape %v where the keys make it %v", o.Name, o.Shape, want))
		}
	}
	for n := range count {
		if !layers[n] {
			wrong = append(wrong, fmt.Sprintf("no tensor of layer %d, of %d", n, count))
			break
		}
	}
	return wrong
}

// layerShape is the shape of a layer's matrix, the row's length first; 0 is any extent. The key of the feed-forward width is not
// held against anything: the reference writes another number there for some families.
func layerShape(role string, embd int64) ([2]int64, bool) {
	switch role {
	case "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_qkv.weight":
		return [2]int64{embd, 0}, true
	case "attn_out.weight":
		return [2]int64{0, embd}, true
	case "ffn_up.weight", "ffn_gate.weight":
		return [2]int64{embd, 0}, true
	case "ffn_down.weight":
		return [2]int64{0, embd}, true
	}
	return [2]int64{}, false
}

func fits(shape []int64, want [2]int64) bool {
	return (want[0] == 0 || shape[0] == want[0]) && (want[1] == 0 || shape[1] == want[1])
}

// perceive shows the model what only the projector can make sense of.
func (t *run) perceive(rt *llamacpp.Runtime, s *job.State, model, projector string) error {
	child, err := llamacpp.Start(t.ctx, rt, s.Worker, llamacpp.StartOptions{})
	if err != nil {
		return err
	}
	defer child.Close()
	m, err := child.Load(t.ctx, llamacpp.ModelOptions{Path: model})
	if err != nil {
		return t.tolerate(err, namePicture)
	}
	threads := 0
	if s.Advice != nil {
		threads = s.Advice.Setting.Threads
	}
	return t.show(child, m.Slot, projector, threads)
}

// show loads the projector beside the model of a slot and shows or plays it what it has a tower for.
func (t *run) show(child *llamacpp.Child, slot int, projector string, threads int) error {
	has, err := child.Project(t.ctx, llamacpp.ProjectorArgs{Slot: slot, Path: projector, Threads: threads})
	var missing *llamacpp.Error
	if errors.As(err, &missing) && missing.Fault == llamacpp.Mismatch {
		t.skip(namePicture, blind)
		return nil
	}
	if err != nil {
		return t.tolerate(err, namePicture)
	}
	if has.Vision {
		if err := t.differ(child, slot, namePicture, picture(0), picture(1)); err != nil {
			return err
		}
	}
	if has.Audio && has.Rate > 0 {
		return t.differ(child, slot, nameSound, sound(has.Rate, 220), sound(has.Rate, 660))
	}
	return nil
}

// differ wants two stimuli to lead to finite and different expectations of the next token.
func (t *run) differ(child *llamacpp.Child, slot int, name string, a, b llamacpp.PerceiveArgs) error {
	var logits [2][]float32
	tokens := 0
	for i, args := range []llamacpp.PerceiveArgs{a, b} {
		args.Slot, args.Before, args.After = slot, "Look and listen: ", " What is it?"
		seen, row, err := child.Perceive(t.ctx, args)
		if err != nil {
			return t.tolerate(err, namePicture)
		}
		logits[i], tokens = row, seen.Tokens
	}
	most := 0.0
	for i := range min(len(logits[0]), len(logits[1])) {
		d := math.Abs(float64(logits[0][i]) - float64(logits[1][i]))
		if math.IsNaN(d) || math.IsInf(d, 0) {
			t.fail(name, fmt.Sprintf("logit %d is %v and %v", i, logits[0][i], logits[1][i]), "finite", "the projector holds values that are no numbers")
			return nil
		}
		most = max(most, d)
	}
	t.judge(most > 0, Check{Name: name, Value: fmt.Sprintf("two %ss of %d tokens move the next token's logits by up to %.3g", name, tokens, most), Limit: "more than 0", Score: most,
		Next: "what the projector makes does not reach the model"})
	return nil
}

// picture is a generated one of 224 x 224 pixels: colours that run across, or rings.
func picture(kind int) llamacpp.PerceiveArgs {
	const side = 224
	a := llamacpp.PerceiveArgs{Width: side, Height: side, Pixels: make([]byte, 0, 3*side*side)}
	for y := range side {
		for x := range side {
			if kind == 0 {
				a.Pixels = append(a.Pixels, byte(x), byte(y), byte(side-x))
				continue
			}
			ring := byte(127 + 120*math.Sin(math.Hypot(float64(x-side/2), float64(y-side/2))/6))
			a.Pixels = append(a.Pixels, ring, ring, 255-ring)
		}
	}
	return a
}

// sound is two seconds of a tone that fades in.
func sound(rate int, pitch float64) llamacpp.PerceiveArgs {
	a := llamacpp.PerceiveArgs{Sound: make([]float32, 2*rate)}
	for i := range a.Sound {
		at := float64(i) / float64(rate)
		a.Sound[i] = float32(0.25 * at * math.Sin(2*math.Pi*pitch*at))
	}
	return a
}
