package policy

import (
	"fmt"
	"slices"

	"quern/convert/gguf"
)

// warn collects what the user should know: options without effect, an imatrix that does not cover the model, values read
// otherwise than written, a file that the reference would have laid out so that nobody can read it.
func (o *Output) warn(all []tensor) {
	for _, over := range o.o.Overrides {
		if over.Note != "" {
			o.Warnings = append(o.Warnings, Warning{over.Key, "--override-kv: " + over.Note})
		}
	}
	for i, tt := range o.o.Tensors {
		if !slices.ContainsFunc(all, func(t tensor) bool { m := match(o.o.Tensors, t.Name); return m == &o.o.Tensors[i] }) {
			o.Warnings = append(o.Warnings, Warning{tt.Pattern, "--tensor-type: decides for no tensor"})
		}
	}
	if o.o.Imatrix != nil {
		o.warnImatrix(all)
	}
}

func (o *Output) warnImatrix(all []tensor) {
	// pruned layers leave entries over, which is no sign of another model
	known := map[string]bool{}
	for _, t := range all {
		known[t.original] = true
	}
	var strange []string
	for name := range o.o.Imatrix.Entries {
		if !known[name] && len(o.o.Prune) == 0 {
			strange = append(strange, name)
		}
	}
	slices.Sort(strange)
	if n := len(strange); n > 0 {
		o.Warnings = append(o.Warnings, Warning{o.o.Imatrix.File,
			fmt.Sprintf("%d of the imatrix's %d entries name no tensor of this model, such as %s: was it computed for another?", n, len(o.o.Imatrix.Entries), strange[0])})
	}
	var bare []string
	for _, d := range o.Decisions {
		if r := roleOf(d.Name); d.To.Quantized() && !d.Copied() && !d.Importance && r != embedding && r != output {
			bare = append(bare, d.Name)
		}
	}
	if len(bare) > 0 {
		o.Warnings = append(o.Warnings, Warning{o.o.Imatrix.File,
			fmt.Sprintf("the imatrix has nothing for %d quantized tensors, such as %s", len(bare), bare[0])})
	}
}

// warnAlignment says where quern leaves the reference.
func (o *Output) warnAlignment(k keys) {
	if n := (&gguf.Plan{Metadata: k}).Alignment(); n != gguf.DefaultAlignment {
		o.Warnings = append(o.Warnings, Warning{gguf.AlignmentKey,
			fmt.Sprintf("tensors are aligned to %d as the key says; llama-quantize would align them to %d and leave the key", n, gguf.DefaultAlignment)})
	}
}
