package arch

// Qwen3-TTS: the talker, a Qwen 3 that writes codes of sound after text.
//
// Peculiar: the projection of the text's embedding is folded into the embedding, and the codes' embedding stands behind it, as
// tokens of their own names; the head knows the codes alone. The speaker's encoder and the predictor of further codes are a
// projector's.
//
// Source: llama.cpp v0.5.0, conversion/qwen3tts.py: Qwen3TTSTalkerModel.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

var ttsCodes = Cfg("codec_vocab_size") // set from the talker's configuration, whose vocab_size it is

var _ = Register(Arch{
	HF:   []string{"Qwen3TTSForConditionalGeneration"},
	GGUF: "qwen3tts",
	Config: Keys{
		Lift("talker_config"),
		Let("codec_vocab_size", Cfg("vocab_size")),
		Let("vocab_size", Cfg("text_vocab_size")),
	},
	Names: Rules{
		Drop("talker.code_predictor.*", "part of the projector"),
		Drop("*", "part of the projector").Except("talker.*"),
		Strip("talker."),
	}.Also(TextNames),
	Tensors: Rules{
		Code(Pattern(strings.Join(ttsMembers, "|")), "the text's embedding through its projection, the codes' behind it", ttsEmbedding),
		Rename("codec_head.weight", "@output"),
	},
	Keys: TextKeys.Then(
		Set("tokenizer.ggml.suppress_tokens", ttsSuppressed),
		Set("tokenizer.ggml.eos_token_id", ttsEnd),
		Set("tokenizer.ggml.add_eos_token", false),
	),
	Vocab: vocab.QwenTTS,
	VocabInput: func(e *Env, in *vocab.Input) error {
		var err error
		in.Codec, err = ttsNames(e)
		return err
	},
})

// ttsMembers become the embedding.
var ttsMembers = []string{"model.text_embedding.weight", "text_projection.linear_fc1.weight", "text_projection.linear_fc2.weight",
	"text_projection.linear_fc1.bias", "text_projection.linear_fc2.bias", "model.codec_embedding.weight"}

// ttsEmbedding waits for all members.
func ttsEmbedding(b *Build, it Item) ([]Item, error) {
	got, _ := b.Scratch["embedding"].(map[string]view.Tensor)
	if got == nil {
		got = map[string]view.Tensor{}
		b.Scratch["embedding"] = got
	}
	if got[it.Name] = it.View; len(got) < len(ttsMembers) {
		return nil, nil
	}
	activation, _ := b.Config.String("hidden_act")
	m := func(i int) view.Tensor { return got[ttsMembers[i]] }
	text, err := perceptron(m(0), activation, [2]view.Tensor{m(1), m(2)}, [2]view.Tensor{m(3), m(4)})
	if err != nil {
		return nil, err
	}
	if it.View, err = concat([]view.Tensor{text, m(5)}); err != nil {
		return nil, err
	}
	it.Name = "token_embd.weight" // whichever member came last
	return []Item{it}, nil
}

var ttsEnd = Add(Cfg("vocab_size"), Cfg("codec_eos_token_id"))

// ttsSuppressed are the last 1024 tokens but the one that ends the sound: codes that the talker does not choose.
var ttsSuppressed = Fn("the last 1024 tokens but the end", func(e *Env) (any, error) {
	n, err := e.Int(Add(Cfg("vocab_size"), ttsCodes))
	if err != nil {
		return nil, err
	}
	end, err := e.Int(ttsEnd)
	out := make([]int64, 0, 1024)
	for i := n - 1024; i < n; i++ {
		if i != end {
			out = append(out, i)
		}
	}
	return out, err
})

// maxCodes bounds the list of codes: published models have some 3000.
const maxCodes = 1 << 20

// ttsNames names the codes: by number, or by the setting of the talker's configuration that states it, the last of several.
func ttsNames(e *Env) ([]string, error) {
	n, err := e.Int(ttsCodes)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > maxCodes {
		return nil, &fault.Invalid{On: "config.json: talker_config.vocab_size", Says: fmt.Sprintf("%d, want 0 to %d", n, maxCodes)}
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("<|codec_%d|>", i)
	}
	set := func(name string, value any) error {
		i, ok := value.(int64)
		if ok && i >= 0 && i < n {
			names[i] = "<|" + name + "|>"
			return nil
		}
		return &fault.Invalid{On: "config.json: talker_config." + name, Says: show(value) + " is none of the codes"}
	}
	keys, err := keysInOrder(e, "talker_config")
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		name, ok := strings.CutSuffix(k.name, "_id")
		if !ok {
			continue
		}
		switch v := k.value.(type) {
		case int64:
			err = set(name, v)
		case []ordered:
			for _, s := range v {
				if err == nil {
					err = set(name+"_"+s.name, s.value)
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// ordered is a key of a JSON object in its place.
type ordered struct {
	name  string
	value any // int64, []ordered for an object, nil for the rest
}

// keysInOrder are the keys of an object of config.json in the file's order, which a config.Object does not keep.
func keysInOrder(e *Env, object string) ([]ordered, error) {
	data, err := config.ReadFile(e.Source, "config.json")
	if err != nil {
		return nil, err
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, &fault.Invalid{On: "config.json", Says: "no JSON object", Err: err}
	}
	return orderedKeys(file[object], 2)
}

// orderedKeys reads an object, and objects in it down to a depth.
func orderedKeys(raw json.RawMessage, depth int) ([]ordered, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, err
	}
	var out []ordered
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		k := ordered{name: name.(string)}
		var i int64
		switch {
		case json.Unmarshal(value, &i) == nil && string(value) != "null":
			k.value = i
		case value[0] == '{' && depth > 1:
			if k.value, err = orderedKeys(value, depth-1); err != nil {
				return nil, err
			}
		}
		out = append(out, k)
	}
	return out, nil
}
