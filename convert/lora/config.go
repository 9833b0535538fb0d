package lora

import (
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
)

// Config is what adapter_config.json says, as far as it matters to a file.
type Config struct {
	Base       string // the base model: a repo's id or a folder; may be empty
	Revision   string // of the base
	Alpha      float64
	Invocation []uint32 // the tokens after which an activated LoRA works; nil: it always works
	Phrase     string   // their text, where the tokens are not given
	Transposed bool     // the base stores its matrices the other way round (Conv1D of GPT-2); the pairs do not

	rankScaled bool // alpha is divided by the root of the rank
	alphas     int  // modules with an alpha of their own
}

// ReadConfig reads adapter_config.json alone. Without the file the error is of fs.ErrNotExist's kind.
func ReadConfig(src fs.FS) (*Config, error) {
	data, err := config.ReadFile(src, ConfigFile)
	if err != nil {
		return nil, err
	}
	v, err := config.Parse(ConfigFile, data)
	if err != nil {
		return nil, err
	}
	o, ok := v.(config.Object)
	if !ok {
		return nil, &fault.Invalid{On: ConfigFile, Says: "it is no JSON object"}
	}
	c := &Config{Transposed: o.True("fan_in_fan_out"), rankScaled: o.True("use_rslora")}
	c.Base, _ = o.String("base_model_name_or_path")
	c.Revision, _ = o.String("revision")
	c.Phrase, _ = o.String("invocation_string")
	alphas, _ := o.Object("alpha_pattern")
	c.alphas = len(alphas)
	if c.Alpha, ok = alpha(o); !ok {
		return nil, &fault.Invalid{On: ConfigFile, Says: "lora_alpha is missing or no number", Next: "is the adapter a LoRA? its peft_type is " + text(o, "peft_type")}
	}
	c.Invocation, err = tokens(o)
	return c, err
}

// alpha may be a text or a switch, as Python makes a number of them.
func alpha(o config.Object) (float64, bool) {
	if v, ok := o.Float("lora_alpha"); ok {
		return v, true
	}
	if s, ok := o.String("lora_alpha"); ok {
		v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		return v, err == nil && !strings.ContainsAny(s, "xXpP") // which Python does not read
	}
	v, ok := o.Bool("lora_alpha")
	if v {
		return 1, ok
	}
	return 0, ok
}

func text(o config.Object, key string) string {
	if s, ok := o.String(key); ok {
		return s
	}
	return "not given"
}

func tokens(o config.Object) ([]uint32, error) {
	list, ok := o.Ints("alora_invocation_tokens")
	if !ok {
		if o.True("alora_invocation_tokens") {
			return nil, &fault.Invalid{On: ConfigFile, Says: "alora_invocation_tokens is no list of integers"}
		}
		return nil, nil
	}
	var ids []uint32
	for _, id := range list {
		if id < 0 || id > math.MaxUint32 {
			return nil, &fault.Invalid{On: ConfigFile, Says: fmt.Sprintf("%d in alora_invocation_tokens is no token", id)}
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}

// warnings tell of settings that the file cannot express: llama.cpp scales each pair by alpha over its rank.
func (c *Config) warnings() []string {
	var w []string
	if c.rankScaled {
		w = append(w, ConfigFile+": use_rslora divides alpha by the root of the rank, llama.cpp by the rank: multiply the adapter's scale by the root of the rank when it is used")
	}
	if c.alphas > 0 {
		w = append(w, fmt.Sprintf("%s: alpha_pattern gives %d modules an alpha of their own; the file holds one, %v, for all", ConfigFile, c.alphas, c.Alpha))
	}
	return w
}
