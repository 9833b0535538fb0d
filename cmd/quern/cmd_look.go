package main

import (
	"context"
	"fmt"

	"quern/convert/gguf"
	"quern/pipeline"
	"quern/stages/plan"
	"quern/stages/record"
	"quern/stages/source"

	"github.com/urfave/cli/v2"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Category: groupLook, ArgsUsage: "FILE|MODEL", Usage: "metadata and tensors of a GGUF file, or of what a checkpoint would become",
		Flags: join([]cli.Flag{
			&cli.BoolFlag{Name: "tensors", Usage: "list the tensors"},
			&cli.BoolFlag{Name: "keys", Usage: "list the metadata alone"},
		}, hubFlags()),
		Action: action(1, 1, inspect),
	}
}

// inspected is the head of an inspection.
type inspected struct {
	Kind         source.Kind `json:"kind"`
	Name         string      `json:"name"`
	Architecture string      `json:"architecture"`
	Tensors      int         `json:"tensors"`
	Keys         int         `json:"keys"`
	Parameters   int64       `json:"parameters"`
	Bytes        int64       `json:"bytes"`
	BPW          float64     `json:"bits_per_weight"`
	Parts        int         `json:"parts,omitempty"`
	Version      uint32      `json:"gguf_version,omitempty"`
}

func inspect(ctx context.Context, c *cli.Context, o *output) error {
	s, err := newState(c, c.Args().First())
	if err != nil {
		return err
	}
	defer s.Shut()
	if err := plan.Open(ctx, s); err != nil {
		return err
	}
	p := plan.Base(s)
	in := inspected{Kind: s.Source.Kind, Name: s.Source.Name, Architecture: p.Architecture(), Tensors: len(p.Outputs), Keys: len(p.Metadata), Parts: len(s.Parts)}
	data := int64(0)
	for _, t := range p.Outputs {
		in.Parameters += t.Elements()
		data += t.Size
	}
	in.Bytes = p.FileSize
	if len(s.Parts) > 0 {
		in.Bytes, in.Version = 0, s.Parts[0].Version
		for _, f := range s.Parts {
			in.Bytes += f.FileSize
		}
	}
	if in.Parameters > 0 {
		in.BPW = float64(data) * 8 / float64(in.Parameters)
	}
	o.Emit(pipeline.Result{Type: "model", Data: in})
	o.printf("%s: %s, %d tensors, %d keys, %d weights, %s, %.2f bits a weight\n", in.Name, in.Architecture, in.Tensors, in.Keys, in.Parameters, plan.Size(in.Bytes), in.BPW)
	if !c.Bool("tensors") || c.Bool("keys") {
		printKeys(s, o)
	}
	if c.Bool("tensors") || !c.Bool("keys") {
		printShapes(p, o)
	}
	return nil
}

func printShapes(p *gguf.Plan, o *output) {
	for _, t := range p.Outputs {
		o.Emit(pipeline.Result{Type: "tensor", Data: tensorLine{"written", t.Name, t.Type.String(), t.Shape, t.Size, ""}})
		o.printf("%-44s %-8s %-24s %12d\n", t.Name, t.Type, fmt.Sprint(t.Shape), t.Size)
	}
}

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Category: groupLook, ArgsUsage: "FILE|DIR", Usage: "check an artifact against its receipt, byte by byte",
		Flags: join([]cli.Flag{
			&cli.BoolFlag{Name: "rebuild", Usage: "make the file again from its pinned source and compare the bytes"},
			&cli.StringFlag{Name: "key", Usage: "check the signed bundle beside the file with the public key in `FILE` (PEM)"},
		}, workFlags(), hubFlags()),
		Action: action(1, 1, verify),
	}
}

func verify(ctx context.Context, c *cli.Context, o *output) error {
	receipts, err := record.Receipts(c.Args().First())
	if err != nil {
		return err
	}
	var first error
	told := map[string]bool{} // a projector stands in its own receipt and in its models'
	for _, path := range receipts {
		checked, r, err := record.Verify(ctx, path, o)
		o.clear()
		for _, f := range checked {
			if told[f.Path] {
				continue
			}
			told[f.Path] = true
			o.Emit(pipeline.Result{Type: "verified", Data: f})
			state := "ok     "
			if !f.OK {
				state = "differs"
			}
			o.printf("%s  %s  %s%s\n", state, f.Path, f.Digest, dash(f.Says))
		}
		if key := c.String("key"); err == nil && key != "" {
			err = verifySigned(ctx, path, key, r, o)
		}
		if err == nil && c.Bool("rebuild") {
			err = rebuild(ctx, c, o, path, r)
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}
