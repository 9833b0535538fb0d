package main

import (
	"quern/stages/importance"
	"quern/stages/job"

	"github.com/urfave/cli/v2"
)

// autoImatrix is the value of --imatrix that names no file.
const autoImatrix = "auto"

// useImatrix reads --imatrix into a request.
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
	if name == autoImatrix {
		s.Auto = &job.Auto{Include: include, Exclude: exclude}
		return nil
	}
	m, err := importance.ReadFile(name)
	if err != nil {
		return err
	}
	m.Keep(include, exclude)
	importance.Take(s, name, m)
	s.Wish.Imatrix = true
	s.Matrix, err = importance.Describe(c.Context, name, m)
	return err
}
