package main

import (
	"os"

	"quern/quantize/imatrix"
	"quern/quantize/policy"
	"quern/stages/job"

	"github.com/urfave/cli/v2"
)

// useImatrix reads --imatrix into a request: the policy sees which entries there are, the build their values.
func useImatrix(c *cli.Context, s *job.State) error {
	name := c.String("imatrix")
	include, exclude := c.StringSlice("include-weights"), c.StringSlice("exclude-weights")
	if name == "" {
		if len(include)+len(exclude) > 0 {
			return usagef("", "--include-weights and --exclude-weights choose among the entries of --imatrix")
		}
		return nil
	}
	if len(include) > 0 && len(exclude) > 0 {
		return usagef("", "--include-weights and --exclude-weights exclude one another")
	}
	m, err := readImatrix(name)
	if err != nil {
		return err
	}
	m.Keep(include, exclude)
	im := &policy.Imatrix{File: name, Chunks: m.Chunks, Entries: m.Sizes()}
	if len(m.Datasets) > 0 {
		im.Dataset = m.Datasets[0]
	}
	s.Policy.Imatrix, s.Imatrix, s.Wish.Imatrix = im, m.Importance, true
	return nil
}

func readImatrix(name string) (*imatrix.Matrix, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return imatrix.Read(name, f, fi.Size())
}
