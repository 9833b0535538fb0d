package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"quern/pipeline"
	"quern/quantize/policy"
	"quern/quantize/recipe"
	"quern/stages/fit"
	"quern/stages/job"

	"github.com/urfave/cli/v2"
)

func fitFlags() []cli.Flag {
	const cat = "Budget"
	return []cli.Flag{
		&cli.StringFlag{Name: "fit", Usage: "the best mixture of types in a file of `SIZE`, such as 3.5GiB", Category: cat},
		&cli.Float64Flag{Name: "bpw", Usage: "the best mixture at `N` bits a weight", Category: cat},
		&cli.StringFlag{Name: "recipe", Usage: "the mixture that `FILE` holds, as --fit wrote it", Category: cat},
		&cli.StringSliceFlag{Name: "against", Usage: "compare the mixture with `TYPE,...` too (always: with the named type of the next smaller size)", Category: cat},
		&cli.BoolFlag{Name: "no-quality", Usage: "do not measure how the mixture stands beside named types", Category: cat},
		&cli.DurationFlag{Name: "quality-time", Value: qualityTime, Usage: "measure for `TIME` at most", Category: cat},
	}
}

// mixture finds or reads a recipe where the options ask for one.
func mixture(ctx context.Context, c *cli.Context, o *output, s *job.State) (bool, error) {
	size, bits, file := c.String("fit"), c.Float64("bpw"), c.String("recipe")
	n := 0
	for _, given := range []bool{size != "", bits != 0, file != ""} {
		if given {
			n++
		}
	}
	switch {
	case n == 0:
		return false, nil
	case n > 1:
		return false, usagef("", "--fit, --bpw and --recipe exclude one another")
	case len(s.Types) > 0:
		return false, usagef("leave the types out", "%s chooses the types, and %s is named too", "--fit", strings.Join(s.Types, ", "))
	}
	s.Against, s.NoQuality, s.QualityTime = types(c.StringSlice("against")), c.Bool("no-quality"), c.Duration("quality-time")
	for _, t := range s.Against {
		if _, err := policy.ParseFileType(t); err != nil {
			return false, err
		}
	}
	if file != "" {
		_, err := fit.Read(ctx, s, file)
		return true, err
	}
	b := recipe.Budget{Bits: bits}
	if size != "" {
		var err error
		if b, err = recipe.ParseSize(size); err != nil {
			return false, usagef("write a size such as 3.5GiB or 800MB", "--fit %q is not a size", size)
		}
	} else if bits < 0.5 || bits > 32 {
		return false, usagef("between 0.5 and 32", "--bpw %g is not a number of bits", bits)
	}
	r, err := fit.Find(ctx, s, b, o)
	if err != nil {
		return false, err
	}
	o.Emit(pipeline.Result{Type: "recipe", Data: r})
	o.Emit(pipeline.Line{Stage: "fit", Label: "fit", Text: fmt.Sprintf("%.2f bits a weight, weighted error %.3g, at most %.2g above the least; %s",
		r.Bits, r.Error, max(r.Error-r.Bound, 0), shares(fit.Share(r)))})
	if c.Bool("dry-run") {
		return true, nil
	}
	path := recipePath(s)
	if err := fit.Write(path, r); err != nil {
		return false, err
	}
	o.Emit(pipeline.Line{Stage: "fit", Label: "recipe", Text: path})
	return true, nil
}

// recipePath is beside the output.
func recipePath(s *job.State) string {
	if strings.EqualFold(filepath.Ext(s.Out), ".gguf") {
		return strings.TrimSuffix(s.Out, filepath.Ext(s.Out)) + ".recipe.json"
	}
	return filepath.Join(ledgerFolder(s), s.Source.Name+"-"+s.Types[0]+s.Label+".recipe.json")
}

func shares(n map[string]int) string {
	var parts []string
	for t, k := range n {
		parts = append(parts, fmt.Sprintf("%s %d", t, k))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}
