package card

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Params counts the weights of a model.
type Params struct {
	Total   int64 // all of them; negative for a LoRA adapter
	Shared  int64 // outside the experts
	Expert  int64 // of one expert, over all layers
	Experts int64 // experts of a layer, 0 for a dense model
}

// sizeLabel is 7B, or 8x7B with experts. Source: gguf-py/gguf/utility.py, size_label.
//
// With experts the size is that of the shared weights and one expert: what a name like 8x7B says.
func (p Params) sizeLabel() string {
	if p.Experts > 0 {
		return fmt.Sprintf("%dx%s", p.Experts, rounded(magnitude(p.Shared)+magnitude(p.Expert)))
	}
	return rounded(magnitude(p.Total))
}

// rounded has at least two digits. The double is rounded, half to even, as Python does it.
func rounded(n float64) string {
	unit, scale := "K", 1e-3
	switch {
	case n > 1e12:
		unit, scale = "T", 1e-12
	case n > 1e9:
		unit, scale = "B", 1e-9
	case n > 1e6:
		unit, scale = "M", 1e-6
	}
	n *= scale
	// A model below one thousand has no digit before the point and gets two behind it: 0.40K.
	whole := strings.TrimLeft(strconv.FormatFloat(math.RoundToEven(n), 'f', -1, 64), "0")
	return strconv.FormatFloat(n, 'f', max(2-len(whole), 0), 64) + unit
}

func magnitude(n int64) float64 { return math.Abs(float64(n)) }

// Parts are what the name of a file is made of; an empty one is left out.
type Parts struct {
	Name      string // used where there is no base name
	Basename  string
	SizeLabel string
	Finetune  string
	Version   string
}

// FileName is the default name by the GGUF naming convention, Base-Size-Finetune-Version-TYPE.gguf. adapter marks
// a LoRA file. Slashes become hyphens in every part: a model card must not choose the folder.
// Source: gguf-py/gguf/utility.py, naming_convention.
func (p Parts) FileName(encoding string, adapter bool) string {
	kind := ""
	if adapter {
		kind = "LoRA"
	}
	return p.join(p.SizeLabel, strings.ToUpper(encoding), kind)
}

// VocabFileName is the default name of a file that holds a vocabulary only.
func (p Parts) VocabFileName() string { return p.join("", "", "vocab") }

func (p Parts) join(size, encoding, kind string) string {
	base := p.Basename
	if base == "" {
		base = p.Name
	}
	if base == "" {
		base = "ggml-model"
	}
	parts := []string{hyphens(base)}
	if size != "" {
		parts = append(parts, slashes.Replace(size)) // the only part that keeps its spaces
	}
	for _, s := range []string{p.Finetune, p.Version, encoding, kind} {
		if s != "" {
			parts = append(parts, hyphens(s))
		}
	}
	return strings.Join(parts, "-") + ".gguf"
}

var slashes = strings.NewReplacer("/", "-", "\\", "-", "\x00", "-")

func hyphens(s string) string {
	return slashes.Replace(strings.ReplaceAll(strings.TrimFunc(s, isSpace), " ", "-"))
}
