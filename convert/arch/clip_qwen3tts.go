package arch

// Qwen3-TTS: the speaker's encoder, the predictor of further codes, and the decoder that makes sound of codes, whose weights stand in a
// file of their own and come first. Codebooks are sums over counts in the checkpoint and means in the file; activations are stored as
// logarithms. Sizes of the encoder are fixed.
//
// Source: llama.cpp v0.5.0, conversion/qwen3tts.py: Qwen3TTSSpeakerEncoderModel.

import (
	"fmt"
	"path"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
)

const (
	ttsFolder    = "speech_tokenizer"
	ttsCodebooks = 15 // behind the first, which is the talker's
)

func ttsCode(key string) Expr {
	return OfRoot(In("talker_config", In("code_predictor_config", Cfg(key))))
}

var ttsTextWidth = OfRoot(In("talker_config", Cfg("hidden_size")))

var _ = Register(Arch{
	Base:   audioTower,
	HF:     []string{"Qwen3TTSForConditionalGeneration"},
	Vision: Const(nil),
	Audio:  Opt("speaker_encoder_config"),
	Blocks: Const(4),
	Names:  Rules{Only("speaker_encoder.*|talker.code_predictor.*|talker.model.codec_embedding.weight")}.Also(ProjectorRest),
	Extra:  []Generate{{Doc: "the decoder of sound, in " + ttsFolder, Make: ttsDecoder}},
	Tensors: Rules{
		Rename("talker.model.codec_embedding.weight", "a.gen.code.out_embd.weight"),
		Rename("talker.code_predictor.model.norm.weight", "a.gen.code.output_norm.weight"),
		nameAs("talker.code_predictor.small_to_mtp_projection.*", "a.gen.code.proj_in"),
		Stack("talker.code_predictor.model.codec_embedding.{x}.weight", ttsCodebooks, "a.gen.code.embd.weight"),
		Stack("talker.code_predictor.lm_head.{x}.weight", ttsCodebooks, "a.gen.code.head.weight"),
	}.Also(ttsLayer()).Then(
		Code("*res2net_block.blocks.*", "stage and block of the encoder", func(_ *Build, it Item) ([]Item, error) {
			_, rest, _ := strings.Cut(it.Name, "res2net_block.blocks.")
			number, end, _ := strings.Cut(rest, ".")
			it.Name, it.Final = fmt.Sprintf("a.blk.%d.res2.%s.%s", it.Block, number, end[strings.LastIndexByte(end, '.')+1:]), true
			return []Item{it}, nil
		}),
	),
	Force: append([]Force{
		{Match: "a.gen.wav.{pre_conv|dac.entry|dac.post_conv}.weight", Type: gguf.F16},
		{Match: "*.up.blk.*.dwconv.weight", Type: gguf.F16},
		{Match: "*.dac.blk.*.{conv1|conv2}.weight", Type: gguf.F16},
		{Match: "*.{up|dac}.blk.*.conv.weight", Type: gguf.F32},
		{Match: "a.gen.code.blk.*.ffn_down.weight", Type: gguf.F32}, // its input leaves the range of F16
	}, PatchTypes...),
	Keys: Keys{
		FileTypeKey,
		Set("has_audio_encoder", true),
		Set("audio.projector_type", "qwen3tts_spkenc"),
		Set("audio.projection_dim", ttsTextWidth),
		Set("audio.num_mel_bins", 128),
		Set("audio.block_count", 3),
		Set("audio.embedding_length", 1536),
		Set("audio.attention.head_count", 1),
		Set("audio.feed_forward_length", 1536),
		Set("audio.attention.layer_norm_epsilon", 1e-5),
		Set("has_gen_audio_encoder", true),
		Set("gen.audio.projector_type", "qwen3tts_gen"),
		Set("gen.audio.projection_dim", ttsTextWidth),
		Set("gen.audio.embedding_length", ttsCode("hidden_size")),
		Set("gen.audio.feed_forward_length", ttsCode("intermediate_size")),
		Set("gen.audio.block_count", ttsCode("num_hidden_layers")),
		Set("gen.audio.attention.head_count", ttsCode("num_attention_heads")),
		Set("gen.audio.attention.head_count_kv", ttsCode("num_key_value_heads")),
		Set("gen.audio.attention.layer_norm_epsilon", ttsCode("rms_norm_eps")),
	},
})

// ttsLayer names the predictor's layers, which llama.cpp numbers apart from those of the encoder.
func ttsLayer() Rules {
	var out Rules
	for _, n := range [][2]string{{"input_layernorm", "ln1"}, {"self_attn.q_proj", "attn_q"}, {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_proj", "attn_k"},
		{"self_attn.k_norm", "attn_k_norm"}, {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_out"}, {"post_attention_layernorm", "ln2"},
		{"mlp.gate_proj", "ffn_gate"}, {"mlp.up_proj", "ffn_up"}, {"mlp.down_proj", "ffn_down"}} {
		out = append(out, numbered(Pattern("talker.code_predictor.model.layers.#."+n[0]+".weight"), "a.gen.code.blk.%d."+n[1]+".weight"))
	}
	return out
}

// numbered gives tensors a name of the file's own, with the number of their block.
func numbered(p Pattern, name string) Rule {
	return Code(p, "name "+name, func(_ *Build, it Item) ([]Item, error) {
		it.Name, it.Final = fmt.Sprintf(name, it.Block), true
		return []Item{it}, nil
	})
}

// ttsMaker collects the decoder's tensors in the file's order.
type ttsMaker struct {
	b     *Build
	named map[string]view.Tensor
	out   []Item
	err   error
}

func (m *ttsMaker) get(name string) view.Tensor {
	t, ok := m.named["decoder."+name]
	if !ok && m.err == nil {
		m.err = &fault.Invalid{On: path.Join(ttsFolder, denseFile), Says: "no tensor decoder." + name}
	}
	return t
}

func (m *ttsMaker) add(name string, v view.Tensor, err error) {
	if m.err == nil {
		m.err = err
	}
	if m.err == nil {
		m.out = append(m.out, Item{Name: "a.gen.wav." + name, View: v, Final: true})
	}
}

func (m *ttsMaker) take(to, from string) { m.add(to, m.get(from), nil) }

func (m *ttsMaker) both(to, from string) {
	m.take(to+".weight", from+".weight")
	m.take(to+".bias", from+".bias")
}

func (m *ttsMaker) squeezed(to, from string) {
	if v := m.get(from); m.err == nil {
		if n := len(v.Shape); n > 0 && v.Shape[n-1] == 1 {
			v, m.err = view.Squeeze(v, -1)
		}
		m.add(to, v, nil)
	}
}

// snake writes the two numbers of an activation ready for use: e to the first, and the inverse of e to the second.
func (m *ttsMaker) snake(to, from string) {
	alpha, beta := m.get(from+".alpha"), m.get(from+".beta")
	if m.err != nil {
		return
	}
	a, err := view.Exp(alpha)
	m.add(to+".alpha", a, err)
	b, err := view.Exp(beta)
	if err == nil {
		b, err = view.Map(b, func(v []float32) {
			for i := range v {
				v[i] = 1 / (v[i] + 1e-9)
			}
		})
	}
	m.add(to+".beta", b, err)
}

// codebooks are the means of what was added up over how often it was used.
func (m *ttsMaker) codebooks(to, from string, n int) {
	books := make([]view.Tensor, n)
	for i := range books {
		at := fmt.Sprintf("%s.vq.layers.%d._codebook.", from, i)
		sum, used := m.get(at+"embedding_sum"), m.get(at+"cluster_usage")
		if m.err != nil {
			return
		}
		books[i], m.err = m.b.mean(sum, used)
	}
	if m.err != nil {
		return
	}
	if n == 1 {
		m.add(to, books[0], nil)
		return
	}
	v, err := view.Stack(books...)
	m.add(to, v, err)
}

// mean divides the rows of a matrix by counts, of which none is taken for less than 1e-5.
func (b *Build) mean(sum, counts view.Tensor) (view.Tensor, error) {
	n, err := b.Floats(counts)
	if err != nil || len(sum.Shape) != 2 || int64(len(n)) != sum.Shape[0] {
		return sum, &fault.Invalid{On: sum.Name, Says: "shape " + dims(sum.Shape) + " with " + dims(counts.Shape) + " counts", Err: err}
	}
	return view.MapRows(sum, func(row int64, v []float32) {
		width := int(sum.Shape[1])
		for ; len(v) > 0; row++ {
			count := max(n[row], 1e-5)
			for i := range width {
				v[i] /= count
			}
			v = v[width:]
		}
	})
}

func ttsDecoder(b *Build) ([]Item, error) {
	list, err := b.tensorsOf(path.Join(ttsFolder, denseFile))
	if err != nil {
		return nil, err
	}
	v, err := b.readJSON(path.Join(ttsFolder, "config.json"))
	if err != nil {
		return nil, err
	}
	whole, _ := v.(config.Object)
	c, ok := whole.Object("decoder_config")
	layers, known := c.Int("num_hidden_layers")
	ratios, hasUps := c.List("upsampling_ratios")
	rates, hasDAC := c.List("upsample_rates")
	if !ok || !known || !hasUps || !hasDAC || layers < 0 || layers > maxBlocks {
		return nil, &fault.Invalid{On: path.Join(ttsFolder, "config.json"), Says: "decoder_config lacks num_hidden_layers, upsampling_ratios or upsample_rates"}
	}
	m := &ttsMaker{b: b, named: make(map[string]view.Tensor, len(list))}
	for _, t := range list {
		m.named[t.Name] = t
	}
	m.squeezed("quant.first.in_proj.weight", "quantizer.rvq_first.input_proj.weight")
	m.squeezed("quant.first.out_proj.weight", "quantizer.rvq_first.output_proj.weight")
	m.codebooks("quant.first.codebook.weight", "quantizer.rvq_first", 1)
	m.squeezed("quant.rest.in_proj.weight", "quantizer.rvq_rest.input_proj.weight")
	m.squeezed("quant.rest.out_proj.weight", "quantizer.rvq_rest.output_proj.weight")
	m.codebooks("quant.rest.codebook.weight", "quantizer.rvq_rest", ttsCodebooks)
	m.both("pre_conv", "pre_conv.conv")
	m.both("tfm.in_proj", "pre_transformer.input_proj")
	m.both("tfm.out_proj", "pre_transformer.output_proj")
	m.take("tfm.output_norm.weight", "pre_transformer.norm.weight")
	for i := range layers {
		m.layer(i)
	}
	for i := range ratios {
		m.upsampler(i)
	}
	m.both("dac.entry", "decoder.0.conv")
	for i := range rates {
		m.dac(i)
	}
	m.snake("dac.post_snake", "decoder.5")
	m.both("dac.post_conv", "decoder.6.conv")
	return m.out, m.err
}

func (m *ttsMaker) layer(i int64) {
	for _, n := range [][2]string{{"ln1", "input_layernorm.weight"}, {"attn_q", "self_attn.q_proj.weight"}, {"attn_k", "self_attn.k_proj.weight"},
		{"attn_v", "self_attn.v_proj.weight"}, {"attn_out", "self_attn.o_proj.weight"}, {"ls1", "self_attn_layer_scale.scale"},
		{"ln2", "post_attention_layernorm.weight"}, {"ffn_gate", "mlp.gate_proj.weight"}, {"ffn_up", "mlp.up_proj.weight"},
		{"ffn_down", "mlp.down_proj.weight"}, {"ls2", "mlp_layer_scale.scale"}} {
		m.take(fmt.Sprintf("tfm.blk.%d.%s.weight", i, n[0]), fmt.Sprintf("pre_transformer.layers.%d.%s", i, n[1]))
	}
}

func (m *ttsMaker) upsampler(i int) {
	to, from := fmt.Sprintf("up.blk.%d.", i), fmt.Sprintf("upsample.%d.", i)
	m.both(to+"conv", from+"0.conv")
	m.both(to+"dwconv", from+"1.dwconv.conv")
	m.both(to+"norm", from+"1.norm")
	m.both(to+"pw1", from+"1.pwconv1")
	m.both(to+"pw2", from+"1.pwconv2")
	m.take(to+"gamma", from+"1.gamma")
}

func (m *ttsMaker) dac(i int) {
	to, from := fmt.Sprintf("dac.blk.%d.", i), fmt.Sprintf("decoder.%d.block.", i+1)
	m.snake(to+"snake", from+"0")
	m.both(to+"conv", from+"1.conv")
	for unit := range 3 {
		res, block := fmt.Sprintf("%sres.%d.", to, unit), fmt.Sprintf("%s%d.", from, unit+2)
		m.snake(res+"act1", block+"act1")
		m.both(res+"conv1", block+"conv1.conv")
		m.snake(res+"act2", block+"act2")
		m.both(res+"conv2", block+"conv2.conv")
	}
}
