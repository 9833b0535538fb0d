package main

import (
	"context"
	"strings"

	"quern/convert/arch"
	"quern/convert/vocab"
	"quern/hfclient"
	"quern/pipeline"
	"quern/quantize/policy"
	"quern/stages"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/pull"
	"quern/stages/source"

	"github.com/urfave/cli/v2"
)

func pullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Category: groupSteps, ArgsUsage: "MODEL", Usage: "download one pinned revision into the Hugging Face cache, verified",
		Flags: join([]cli.Flag{
			dryRunFlag(),
			&cli.StringSliceFlag{Name: "include", Usage: "only `FILE`; may be repeated (default: what a conversion needs)"},
			&cli.BoolFlag{Name: "all", Usage: "every file of the revision"},
		}, hubFlags()),
		Action: action(1, 1, pullModel),
	}
}

// pulled is the result of a download: the "file" events name the files.
type pulled struct {
	Repo    string          `json:"repo"`
	Commit  string          `json:"commit"`
	Dir     string          `json:"dir"`
	Fetched int64           `json:"bytes_fetched"`
	Files   []hfclient.File `json:"files"`
}

// download is what a pull would fetch: the "download" result of --json.
type download struct {
	Repo    string          `json:"repo"`
	Commit  string          `json:"commit"`
	Files   []hfclient.File `json:"files"`
	Missing []hfclient.File `json:"missing"` // those that the cache lacks
	Fetch   int64           `json:"bytes_to_fetch"`
}

// pullModel fetches what a conversion reads, and nothing else unless it is asked for.
func pullModel(ctx context.Context, c *cli.Context, o *output) error {
	hub, err := hubClient(c)
	if err != nil {
		return err
	}
	repo, rev, err := hfclient.ParseRef(c.Args().First())
	if err != nil {
		return err
	}
	req := pull.Request(repo, rev, o)
	req.All, req.Files = c.Bool("all"), types(c.StringSlice("include"))
	if c.Bool("dry-run") {
		p, err := hub.PlanPull(ctx, req)
		if err != nil {
			return err
		}
		o.Emit(pipeline.Result{Type: "download", Data: download{repo, p.Revision.Commit, p.Files, nonNil(p.Missing), p.Fetch}})
		for _, f := range p.Missing {
			o.printf("would fetch %-50s %s\n", f.Path, plan.Size(f.Size))
		}
		o.printf("%d files, %s to fetch\n", len(p.Files), plan.Size(p.Fetch))
		return nil
	}
	o.Emit(pipeline.Started{Stage: "pull", Says: repo})
	snap, err := hub.Pull(ctx, req)
	if err != nil {
		return &pipeline.StageError{Stage: "pull", Err: err}
	}
	o.Emit(pipeline.Result{Type: "pull", Data: pulled{repo, snap.Commit, snap.Dir, snap.Fetched, snap.Files}})
	o.Emit(pipeline.Finished{Stage: "pull", State: pipeline.OK, Says: pull.Summary(snap)})
	o.printf("%s\n", snap.Dir)
	return nil
}

func convertCommand() *cli.Command {
	return &cli.Command{
		Name: "convert", Category: groupSteps, ArgsUsage: "SRC | --lora ADAPTER", Usage: "checkpoint to GGUF, byte for byte as llama.cpp's converter",
		Flags: join([]cli.Flag{
			&cli.StringFlag{Name: "type", Value: "auto", Usage: "`TYPE`: auto, f32, f16, bf16, q8_0, tq1_0, tq2_0"},
			outFlag(), dryRunFlag(), forceFlag(),
			&cli.BoolFlag{Name: "vocab-only", Usage: "a file without tensors"},
			&cli.BoolFlag{Name: "mmproj", Usage: "the vision or audio part, for llama.cpp's --mmproj, in place of the text model"},
		}, loraFlags(), convertFlags(), splitFlags(), workFlags(), hubFlags()),
		Action: action(0, 1, convertModel),
	}
}

// convertModel runs the stages up to the unquantized file. A GGUF file has nothing to be converted.
func convertModel(ctx context.Context, c *cli.Context, o *output) error {
	model, err := subject(c)
	if err != nil {
		return err
	}
	s, err := newState(c, model)
	if err != nil {
		return err
	}
	src, err := source.Parse(s.Model)
	if err != nil {
		return err
	}
	if src.IsGGUF() {
		return usagef("`quern quantize` reads GGUF files", "%s is a GGUF file already", s.Model)
	}
	if s.Split, err = splitting(c); err != nil {
		return err
	}
	s.Make = job.Converted
	if err := runStages(ctx, c, o, s, stages.Convert); err != nil || !c.Bool("dry-run") {
		return err
	}
	for _, l := range plan.PartLines(s) {
		o.printf("%s\n", l)
	}
	return nil
}

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name: "quantize", Category: groupSteps, ArgsUsage: "SRC [TYPE...]", Usage: "GGUF or checkpoint to one or more quantized files in one read",
		Flags: join([]cli.Flag{outFlag(), dryRunFlag(), forceFlag()},
			fitFlags(), policyFlags(), convertFlags(), workFlags(), hubFlags()),
		Action: action(1, -1, quantizeModel),
	}
}

// quantizeModel makes the named types, or a mixture within a budget, in one read of the source.
func quantizeModel(ctx context.Context, c *cli.Context, o *output) error {
	s, err := newState(c, c.Args().First())
	if err != nil {
		return err
	}
	if s.Policy, err = policyOptions(c); err != nil {
		return err
	}
	if err := useImatrix(c, s); err != nil {
		return err
	}
	s.Types, s.Make = types(c.Args().Tail()), job.Quantized
	fitted, err := mixture(ctx, c, o, s)
	if err != nil {
		return err
	}
	if !fitted && len(s.Types) == 0 {
		return usagef("`quern archs --types` lists them; or give a budget with --fit 3.5GiB or --bpw 4.3", "no type is named")
	}
	if fitted {
		return runStages(ctx, c, o, s, stages.Mixture)
	}
	return runStages(ctx, c, o, s, stages.Quantize)
}

func archsCommand() *cli.Command {
	return &cli.Command{
		Name: "archs", Category: groupLook, ArgsUsage: "[NAME]", Usage: "supported architectures, tokenizers and types",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tokenizers", Usage: "list the pre-tokenizers that are known"},
			&cli.BoolFlag{Name: "types", Usage: "list the file types"},
			&cli.StringFlag{Name: "rules", Usage: "show the rules of `NAME`, a class or a GGUF architecture"},
		},
		Action: action(0, 1, listArchs),
	}
}

// archLine is a supported class: the "arch" result of --json.
type archLine struct {
	Class string `json:"class"`
	Kind  string `json:"kind"` // text or projector
	GGUF  string `json:"architecture"`
	Note  string `json:"note,omitempty"`
}

// preLine is a known pre-tokenizer: the "tokenizer" result of --json.
type preLine struct {
	Pre string `json:"pre"`
}

// kindLine is a file type: the "file_type" result of --json.
type kindLine struct {
	Name string  `json:"name"`
	Bits float64 `json:"bits_per_weight"`
	Says string  `json:"says"`
}

// listArchs lists what this build converts, from the registries that conversion itself looks classes up in.
func listArchs(_ context.Context, c *cli.Context, o *output) error {
	if name := c.String("rules"); name != "" {
		return showRules(name, o)
	}
	switch {
	case c.Bool("tokenizers"):
		for _, name := range vocab.PreTokenizers() {
			o.Emit(pipeline.Result{Type: "tokenizer", Data: preLine{name}})
			o.printf("%s\n", name)
		}
		return nil
	case c.Bool("types"):
		for _, k := range policy.Kinds() {
			o.Emit(pipeline.Result{Type: "file_type", Data: kindLine{k.Name, k.Bits, k.Says}})
			o.printf("%-8s %6.2f  %s\n", k.Name, k.Bits, k.Says)
		}
		return nil
	}
	want := strings.ToLower(c.Args().First())
	n := 0
	for _, kind := range []struct {
		name   string
		names  []string
		lookup func(string) (*arch.Arch, bool)
	}{{"text", arch.ClassNames(), arch.Lookup}, {"projector", arch.ProjectorNames(), arch.LookupProjector}} {
		for _, hf := range kind.names {
			a, _ := kind.lookup(hf)
			if want != "" && !strings.Contains(strings.ToLower(hf+" "+a.GGUF), want) {
				continue
			}
			n++
			o.Emit(pipeline.Result{Type: "arch", Data: archLine{hf, kind.name, a.GGUF, a.Note}})
			o.printf("%-50s %-10s %-20s %s\n", hf, kind.name, a.GGUF, a.Note)
		}
	}
	if n == 0 {
		return usagef("`quern archs` lists all", "no supported architecture is called %q", c.Args().First())
	}
	return nil
}

// showRules prints the declarations of a class or of all entries of a GGUF architecture.
func showRules(name string, o *output) error {
	found := arch.Find(name)
	if len(found) == 0 {
		return usagef("`quern archs` lists all", "no architecture is called %q", name)
	}
	for _, a := range found {
		var b strings.Builder
		if err := a.WriteRules(&b); err != nil {
			return err
		}
		o.Emit(pipeline.Result{Type: "rules", Data: textLine{b.String()}})
		o.printf("%s", b.String())
	}
	return nil
}
