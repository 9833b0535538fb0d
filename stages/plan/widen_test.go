package plan_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quern/convert/gguf"
	"quern/quantize/llamacpp"
)

// widened are the keys that grow with the hidden state, so that a case of width 64 becomes one of width 1024.
var widened = []string{"embedding_length", "feed_forward_length", "expert_feed_forward_length", "expert_shared_feed_forward_length", "expert_chunk_feed_forward_length",
	"attention.key_length", "attention.value_length", "rope.dimension_count", "attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa",
	"attention.key_length_mla", "attention.value_length_mla", "attention.q_lora_rank", "attention.kv_lora_rank", "attention.indexer.key_length", "ssm.inner_size", "ssm.time_step_rank",
	"kda.head_dim", "embedding_length_per_layer_input", "features_length", "posnet.embedding_length", "convnext.embedding_length", "embedding_length_out"}

// widen makes the plan's model factor times as wide; heads, layers, experts and vocabulary stay. Where a matrix has a width of
// its own (convolutions, states, the ranks of small projections) the loader says what it expects, and mend follows.
func widen(p gguf.Plan, factor int64) (gguf.Plan, error) {
	meta := slices.Clone(p.Metadata)
	vocab := int64(0)
	for i, kv := range meta {
		if tokens, ok := kv.Value.([]string); ok && kv.Key == "tokenizer.ggml.tokens" {
			vocab = int64(len(tokens))
		}
		if !slices.Contains(widened, strings.TrimPrefix(kv.Key, p.Architecture()+".")) {
			continue
		}
		switch v := kv.Value.(type) {
		case uint32:
			meta[i].Value = v * uint32(factor)
		case []int32:
			v = slices.Clone(v)
			for j := range v {
				v[j] *= int32(factor)
			}
			meta[i].Value = v
		}
	}
	outs := slices.Clone(p.Outputs)
	stretch(meta, outs)
	for i := range outs {
		o := &outs[i]
		o.Shape = slices.Clone(o.Shape)
		for d := range o.Shape {
			keeps := o.Shape[d] == vocab || o.Shape[d] == 1 || d == 2 || d == 1 && narrow(o.Name) || d == 0 && strings.Contains(o.Name, "conv1d") && strings.HasSuffix(o.Name, ".weight")
			if !keeps {
				o.Shape[d] *= factor
			}
		}
	}
	return gguf.Layout(meta, outs, 32)
}

// longestContext is the largest of memorySettings.
const longestContext = 16384

// stretch gives models that look positions up enough of them.
func stretch(meta []gguf.KV, outs []gguf.Output) {
	for i := range meta {
		if n, ok := meta[i].Value.(uint32); ok && strings.HasSuffix(meta[i].Key, ".context_length") {
			meta[i].Value = max(n, longestContext)
		}
	}
	for i := range outs {
		if outs[i].Name == "position_embd.weight" {
			outs[i].Shape = []int64{outs[i].Shape[0], longestContext}
		}
	}
}

// narrow tells the matrices whose number of rows does not grow with the hidden state.
func narrow(name string) bool {
	for _, part := range []string{"gate_inp.", "position", "sinks", "exp_probs", "token_types", "exps.bias", "indexer", "_lora", "lora_a", "cls.output"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// wrongShape is what llama.cpp says of a tensor that it did not expect so (llama-model-loader.cpp, check_tensor_dims).
var wrongShape = regexp.MustCompile(`tensor '([^']+)' has wrong shape; expected +([0-9, ]+), got`)

var blockNumber = regexp.MustCompile(`^((?:enc\.|dec\.)?blk)\.\d+\.`)

// mend gives the tensor that the loader complains of, and its like in other layers, the shape that it expects.
func mend(p *gguf.Plan, complaint string) bool {
	m := wrongShape.FindStringSubmatch(complaint)
	if m == nil {
		return false
	}
	var shape []int64
	for _, d := range strings.Split(m[2], ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(d), 10, 64)
		if err != nil || n < 1 {
			return false
		}
		shape = append(shape, n)
	}
	kind := func(name string) string { return blockNumber.ReplaceAllString(name, "$1.") }
	outs := slices.Clone(p.Outputs)
	at := slices.IndexFunc(outs, func(o gguf.Output) bool { return o.Name == m[1] })
	if at < 0 {
		return false
	}
	old := outs[at].Shape
	for i := range outs {
		if kind(outs[i].Name) == kind(m[1]) && slices.Equal(outs[i].Shape, old) {
			outs[i].Shape = shape[:lastUsed(shape)]
		}
	}
	q, err := gguf.Layout(p.Metadata, outs, 32)
	if err != nil {
		return false
	}
	*p = q
	return true
}

func lastUsed(shape []int64) int {
	n := len(shape)
	for n > 1 && shape[n-1] == 1 {
		n--
	}
	return n
}

// maxMended bounds the shapes that are put right for one model.
const maxMended = 60

// loadMended loads the plan's model without its weights: the file has holes in their place.
func loadMended(t *testing.T, p *gguf.Plan, child *llamacpp.Child) (*llamacpp.Model, error) {
	file := filepath.Join(t.TempDir(), "model.gguf")
	for n := 0; ; n++ {
		if err := sparse(file, p); err != nil {
			return nil, err
		}
		m, err := child.Load(t.Context(), llamacpp.ModelOptions{Path: file})
		if err == nil || n == maxMended || !mend(p, err.Error()) {
			return m, err
		}
	}
}

// sparse writes a file with the plan's header and holes in place of weights.
func sparse(name string, p *gguf.Plan) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.WriteHeader(f); err != nil {
		return err
	}
	return f.Truncate(p.FileSize)
}
