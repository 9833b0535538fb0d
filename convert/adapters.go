package convert

import (
	"fmt"

	"quern/convert/gguf"
	"quern/convert/view"
)

// Adapter is a LoRA adapter that the checkpoint carries beside the model, as Jina 3 does for each of its tasks: a file of its
// own, always in F32.
type Adapter struct {
	Task    string
	Plan    gguf.Plan
	Sources []view.Tensor // what Plan.Outputs[i] is made of
}

// FileName is the adapter's file beside the model's file of that name, as the reference calls it.
func (a *Adapter) FileName(model string) string { return fmt.Sprintf("lora-%s-%s", a.Task, model) }

// adapters lays out the adapters' files.
func (p *planner) adapters() error {
	for _, a := range p.build.Adapters {
		outs, sources := outputs(a.Outputs)
		plan, err := gguf.Layout(a.Metadata, outs, 0)
		if err != nil {
			return err
		}
		p.m.Adapters = append(p.m.Adapters, Adapter{Task: a.Task, Plan: plan, Sources: sources})
	}
	return nil
}
