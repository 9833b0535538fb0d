package arch

// DeepSeek 4, its prediction layers (--mtp) and the DSpark draft that checkpoints carry (--dspark).
//
// Peculiar: names of DeepSeek's own code; FP8 weights become Q8_0, others keep the precision that they have; experts are MXFP4 and
// repacked; the first layers choose experts by token from a table of integers; all of these tables, then all experts, come before
// the other tensors; prediction layers and drafts stand under "mtp.". The reference has a chat template of its own.
//
// Source: llama.cpp v0.5.0, conversion/deepseek.py: DeepseekV4DSparkModel, DeepseekV4Model.

import (
	"fmt"
	"strconv"
	"strings"

	"quern/convert/config"
	"quern/convert/dequant"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/convert/vocab"
)

// deepseek4Roles are the roles by name, without the layer before it and .weight behind it.
var deepseek4Roles = map[string]string{
	"embed": "token_embd", "norm": "output_norm", "head": "output",
	"hc_head_fn": "hc_head_fn", "hc_head_base": "hc_head_base", "hc_head_scale": "hc_head_scale",
	"hc_attn_fn": "hc_attn_fn", "hc_attn_base": "hc_attn_base", "hc_attn_scale": "hc_attn_scale",
	"hc_ffn_fn": "hc_ffn_fn", "hc_ffn_base": "hc_ffn_base", "hc_ffn_scale": "hc_ffn_scale",
	"attn.attn_sink": "attn_sinks", "attn.wq_a": "attn_q_a", "attn.wq_b": "attn_q_b", "attn.q_norm": "attn_q_a_norm",
	"attn.wkv": "attn_kv", "attn.kv_norm": "attn_kv_norm", "attn.wo_a": "attn_out_a", "attn.wo_b": "attn_out_b",
	"attn.compressor.ape": "attn_compressor_ape", "attn.compressor.wkv": "attn_compressor_wkv",
	"attn.compressor.wgate": "attn_compressor_wgate", "attn.compressor.norm": "attn_compressor_norm",
	"attn.indexer.wq_b": "indexer_attn_q_b", "attn.indexer.weights_proj": "indexer_proj",
	"attn.indexer.compressor.ape": "indexer_compressor_ape", "attn.indexer.compressor.wkv": "indexer_compressor_wkv",
	"attn.indexer.compressor.wgate": "indexer_compressor_wgate", "attn.indexer.compressor.norm": "indexer_compressor_norm",
	"attn_norm": "attn_norm", "ffn_norm": "ffn_norm", "ffn.gate": "ffn_gate_inp",
	"ffn.gate.bias": "ffn_exp_probs_b", "ffn.gate.bias_vl": "ffn_exp_probs_b_vl",
	"ffn.shared_experts.w1": "ffn_gate_shexp", "ffn.shared_experts.w2": "ffn_down_shexp", "ffn.shared_experts.w3": "ffn_up_shexp",
	"nextn.eh_proj": "nextn_eh_proj", "nextn.enorm": "nextn_enorm", "nextn.hnorm": "nextn_hnorm",
	"nextn.shared_head_norm": "nextn_shared_head_norm", "nextn.embed_tokens": "nextn_embed_tokens", "nextn.shared_head_head": "nextn_shared_head_head",
	// of drafts
	"main_proj": "fc", "main_norm": "enc_output_norm", "markov_head.markov_w1": "dspark_markov_w1", "markov_head.markov_w2": "dspark_markov_w2",
	"confidence_head.proj": "dspark_conf_proj",
}

// deepseek4Stored are the experts as the checkpoint has them: one by one, codes and scales apart. They are moved bit by bit: both sides
// give the four-bit codes the same meaning, only their places in a block differ.
var deepseek4Stored = mxExperts{
	members: "layers.{b}.ffn.experts.{x}.{w}.weight",
	count:   Cfg("n_routed_experts"),
	words:   []string{"w1:gate", "w2:down", "w3:up"},
	scale:   func(codes string) string { return strings.TrimSuffix(codes, "weight") + "scale" },
}

var (
	// A null counts as none here, unlike the number of layers that choose experts by token, which the tables cannot do without.
	deepseek4Next   = Else(Opt("num_nextn_predict_layers"), 0)
	deepseek4Hashed = Cfg("num_hash_layers")
)

var deepseek4Base = Arch{
	GGUF:       "deepseek4",
	Config:     Keys{Do("keys and rope of config.json that transformers leaves out", deepseek4Config)},
	Dequantize: deepseek4FP8,
	FP8AsQ8:    true,
	Extra:      []Generate{{Doc: "tables of experts by token, experts in MXFP4, joined projections of prediction layers", Make: deepseek4First}},
	Tensors: Rules{
		Drop("layers.#.ffn.gate.bias", "experts are chosen by token here"),
		Code("*", "roles by DeepSeek's own names, types as stored", deepseek4Tensor),
	},
	// The reference sets its own text before it reads a tensor, so the key stands first wherever the template comes from.
	Opening: Keys{Set("tokenizer.chat_template", ownTemplate)},
	Keys: TextKeys.Then(
		Set("rope.dimension_count", Cfg("qk_rope_head_dim")),
		Set("attention.q_lora_rank", Cfg("q_lora_rank")),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_count", Cfg("n_shared_experts")),
		Set("expert_weights_scale", Cfg("routed_scaling_factor")),
		Set("expert_weights_norm", Flag("norm_topk_prob")),
		Set("swiglu_clamp_exp", Repeat(Cfg("swiglu_limit"))),
		Set("swiglu_clamp_shexp", Repeat(Cfg("swiglu_limit"))),
	).Also(indexerKeys).Then(
		Set("attention.output_group_count", Cfg("o_groups")),
		Set("attention.output_lora_rank", Cfg("o_lora_rank")),
		Set("attention.compress_ratios", Cfg("compress_ratios")),
		Set("attention.compress_rope_freq_base", Cfg("compress_rope_theta")),
		Set("hyper_connection.count", Cfg("hc_mult")),
		Set("hyper_connection.sinkhorn_iterations", Cfg("hc_sinkhorn_iters")),
		Set("hyper_connection.epsilon", Cfg("hc_eps")),
		Set("hash_layer_count", deepseek4Hashed),
	),
	Vocab: vocab.GPT2,
	// Query, key and value go through latents and groups, whose widths the general keys do not tell; blocks differ by compression.
	Odd:    []string{"attn_q", "attn_k", "attn_v", "attn_out", "token_embd"},
	Uneven: true,
}

var deepseek4Draft = Register(Arch{
	Base:   &deepseek4Base,
	HF:     []string{"DeepseekV4DSparkModel"},
	GGUF:   "dflash",
	DSpark: true,
	Blocks: Fn("layers of the draft", func(e *Env) (any, error) {
		n := int64(0)
		for i := range e.Tensors {
			// No key counts a draft's layers. The bound keeps a made-up number in a name from becoming a list of that length.
			if name, ok := draftName(e.Tensors[i].Name); ok {
				n = max(n, min(blockOf(name)+1, maxBlocks+1))
			}
		}
		return n, nil
	}),
	Names: Rules{
		Code("*", "what stands under mtp. alone", func(b *Build, it Item) ([]Item, error) {
			name, ok := draftName(it.Name)
			if !ok {
				b.drop(it.Source, "--dspark takes the draft alone")
				return nil, nil
			}
			it.Name = name
			return []Item{it}, nil
		}),
	}.Also(TextNames),
	Tensors: Rules{
		Drop("layers.#.ffn.gate.bias_vl", "the draft reads text only"),
		Code("*", "roles by DeepSeek's own names, types as stored", deepseek4Tensor),
	},
	Keys: Keys{Let("compress_ratios", Repeat(0)), Let("num_hash_layers", 0)}.Also(deepseek4Base.Keys).Then(
		Set("block_size", Cfg("dspark_block_size")),
		Set("target_layers", Fn("dspark_target_layer_ids, counted from 1", func(e *Env) (any, error) {
			ids, ok := e.Config.Ints("dspark_target_layer_ids")
			out := make([]int64, len(ids))
			for i, id := range ids {
				out[i] = id + 1
			}
			if !ok {
				return nil, &fault.Invalid{On: "config.json: dspark_target_layer_ids", Says: "a list of layers is needed"}
			}
			return out, nil
		})),
	),
	VocabFrom: FromTarget,
	VocabLate: Keys{Set("tokenizer.ggml.mask_token_id", Cfg("dspark_noise_token_id"))},
})

var _ = Register(Arch{
	Base:   &deepseek4Base,
	HF:     []string{"DeepseekV4ForCausalLM"},
	MTP:    true,
	Switch: []Case{{If: DSparkOnly, To: deepseek4Draft}},
	Blocks: Add(Cfg("num_hidden_layers"), Choose(MTPOnly, deepseek4Next, 0)),
	Names: Rules{
		Drop("aligner.*|image_*", "not part of the text model"),
		Code("*", "prediction layers and the trunk (--mtp)", deepseek4Layers),
	},
	Tensors: Given(Fn("experts are chosen by token", func(e *Env) (any, error) {
		n, err := e.Int(deepseek4Hashed)
		return e.block >= 0 && e.block < n, err
	}), deepseek4Base.Tensors[0]).Then(deepseek4Base.Tensors[1]),
	Keys: deepseek4Base.Keys.Then(
		Set("embedding_length_out", Mul(Cfg("hidden_size"), Cfg("hc_mult"))),
		Set("nextn_predict_layers", Choose(MTPOnly, Or(deepseek4Next, Const(nil)), nil)),
	),
})

// ownTemplate is the checkpoint's own chat template, which takes the place that the reference gives to its text.
var ownTemplate = Fn("chat template of the tokenizer", func(e *Env) (any, error) {
	v, err := e.Vocabulary()
	if err != nil {
		return nil, err
	}
	return v.Value("tokenizer.chat_template"), nil
})

// deepseek4Config puts keys that transformers does not know, and a type of rope that it does not carry over, back.
func deepseek4Config(m *Meta) error {
	c := *m.Env
	c.Config = m.File.Merge(m.Config)
	if scaling, ok := m.File.Object("rope_scaling"); ok && c.rope()["rope_type"] == nil {
		c.Rope = m.Rope.Merge(scaling)
		if c.Rope["rope_type"] == nil && scaling["type"] != nil {
			c.Rope = c.Rope.Merge(config.Object{"rope_type": scaling["type"]})
		}
	}
	m.Env = &c
	return nil
}

// draftName is the name of a draft's tensor without the stage that it stands under; layers keep it.
func draftName(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "mtp.")
	stage, rest, cut := strings.Cut(rest, ".")
	if !ok || !cut || !isDigits(stage) {
		return "", false
	}
	base := strings.TrimSuffix(strings.TrimSuffix(rest, ".weight"), ".scale")
	switch base {
	case "main_proj", "main_norm", "norm", "hc_head_fn", "hc_head_base", "hc_head_scale", "markov_head.markov_w1", "markov_head.markov_w2", "confidence_head.proj":
		return rest, true
	}
	return "layers." + stage + "." + rest, true
}

// deepseek4Layers numbers prediction layers behind the trunk where they are wanted, and drops the others.
func deepseek4Layers(b *Build, it Item) ([]Item, error) {
	rest, next := strings.CutPrefix(it.Name, "mtp.")
	switch {
	// Unlike other families, where the trunk carries its prediction layers, this one's are a file of their own or nothing.
	case next && !b.Options.MTPOnly:
		b.drop(it.Source, "llama.cpp takes prediction layers from a file of their own (--mtp)")
		return nil, nil
	case !next && b.Options.MTPOnly:
		switch it.Name {
		// What the layers share with the trunk; head.scale goes with a head in FP8.
		case "embed.weight", "norm.weight", "head.weight", "head.scale":
			return []Item{it}, nil
		}
		b.drop(it.Source, "--mtp takes the prediction layers alone")
		return nil, nil
	case !next:
		return b.pass(TextNames, it)
	}
	num, rest, _ := strings.Cut(rest, ".")
	i, err := strconv.ParseInt(num, 10, 64)
	trunk, errTrunk := b.Int(Cfg("num_hidden_layers"))
	if err != nil || errTrunk != nil || trunk+i >= b.Blocks || rest == "" {
		return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("no tensor of a prediction layer: the configuration has layers 0 to %d", b.Blocks-1)}
	}
	layer := fmt.Sprintf("layers.%d.", trunk+i)
	switch rest {
	// These exist once in a model, so each prediction layer's take the place of the trunk's, which are not in such a file.
	case "hc_head_fn", "hc_head_base", "hc_head_scale":
		it.Name = rest
	case "e_proj.weight", "e_proj.scale", "h_proj.weight", "h_proj.scale", "enorm.weight", "hnorm.weight":
		it.Name = layer + "nextn." + rest
	case "norm.weight":
		it.Name = layer + "nextn.shared_head_norm.weight"
	default:
		it.Name = layer + rest
	}
	return []Item{it}, nil
}

// deepseek4FP8 widens FP8 weights, whose scales are powers of two for blocks of 128 x 128.
func deepseek4FP8(_ *Build, s *dequant.Set) (bool, error) {
	for _, name := range s.Names() {
		base, ok := strings.CutSuffix(name, ".scale")
		w, has := s.Find(base + ".weight")
		if !ok || !has || w.View.DType != safetensors.F8E4M3 && w.View.DType != safetensors.F8E5M2 {
			continue
		}
		scale, _ := s.Find(name)
		factors := scale.View
		// The bytes are exponents whatever the header calls them: some exports have no type for them.
		if factors.DType == safetensors.U8 || factors.DType == safetensors.I8 {
			factors.DType = safetensors.F8E8M0
		}
		v, err := dequant.Scaled(w.View, factors, []int64{128, 128})
		if err != nil {
			return false, err
		}
		w.View, w.FP8 = v, true
		s.Take(name)
	}
	return true, nil
}

// deepseek4First writes what comes before all other tensors.
func deepseek4First(b *Build) ([]Item, error) {
	template, err := ownTemplate.Eval(b.Env)
	if err != nil {
		return nil, err
	}
	if template == nil {
		b.Warn("no chat template: the checkpoint has none, and llama.cpp's own text for this family is not copied")
	}
	trunk, err := b.Int(Cfg("num_hidden_layers"))
	if err != nil {
		return nil, err
	}
	first := int64(0)
	if b.Options.MTPOnly {
		first = trunk
	}
	if !b.Options.MTPOnly && !b.Env.Arch.DSpark {
		if err := deepseek4Tables(b); err != nil {
			return nil, err
		}
	}
	if err := deepseek4Stored.write(b, first); err != nil {
		return nil, err
	}
	// The file's type is told by its experts, whatever was asked for: they are most of it.
	b.Stored = &storedMXFP4
	var out []Item
	// llama.cpp multiplies the embedding and the state of the trunk by one matrix: the two lie side by side along the input.
	for i := trunk; i < b.Blocks && b.Options.MTPOnly; i++ {
		stem := fmt.Sprintf("layers.%d.nextn.", i)
		e, hasE := b.Take(stem + "e_proj.weight")
		h, hasH := b.Take(stem + "h_proj.weight")
		if !hasE && !hasH {
			continue
		}
		if !hasE || !hasH {
			return nil, &fault.Invalid{On: fmt.Sprintf("prediction layer %d", i-trunk), Says: "one of e_proj and h_proj is missing"}
		}
		// Both are FP8 in the checkpoint, but joined they are no tensor of it any more: the type of FP8 weights is given by hand.
		q8 := gguf.Q8_0
		it := Item{Name: stem + "eh_proj.weight", Source: h.Source, Type: &q8}
		views, err := promoted([]view.Tensor{e.View, h.View})
		if err == nil {
			it.View, err = view.Concat(1, views...)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	return out, nil
}

// deepseek4Tables writes the tables of experts by token as 32-bit integers.
func deepseek4Tables(b *Build) error {
	n, err := b.Int(deepseek4Hashed)
	for i := int64(0); i < n && err == nil; i++ {
		name := fmt.Sprintf("layers.%d.ffn.gate.tid2eid", i)
		it, ok := b.Take(name)
		to, has := b.names.Of("ffn_gate_tid2eid", i)
		if !ok || !has {
			return &fault.Invalid{On: "checkpoint", Says: "no tensor " + name + ", though this layer chooses experts by token"}
		}
		var v view.Tensor
		if v, err = view.MapInts(it.View, safetensors.I32, func(int64, []int64) {}); err == nil {
			err = b.Emit(to+".weight", gguf.I32, v, it.Source, true)
		}
	}
	return err
}

// deepseek4Tensor names a tensor by its role. Everything but FP8 keeps the precision that it is stored in.
func deepseek4Tensor(b *Build, it Item) ([]Item, error) {
	base, end := strings.TrimSuffix(it.Name, ".weight"), ".weight"
	if rest, ok := strings.CutPrefix(base, "layers."); ok && it.Block >= 0 {
		_, base, _ = strings.Cut(rest, ".")
	}
	// The only roles of this family that are no weights.
	if strings.HasPrefix(base, "ffn.gate.bias") {
		end = ".bias"
	}
	name, ok := b.names.Of(deepseek4Roles[base], it.Block)
	if !ok {
		return []Item{it}, nil // the tables will not know it either
	}
	if it.Type == nil && !it.FP8 {
		if t, ok := map[safetensors.DType]gguf.Type{safetensors.F32: gguf.F32, safetensors.BF16: gguf.BF16}[it.View.DType]; ok {
			it.Type = &t
		}
	}
	it.Name = name + end
	return []Item{it}, nil
}
