package main

import (
	"context"
	"path/filepath"

	"quern/quantize/llamacpp"
	"quern/stages/source"

	"github.com/urfave/cli/v2"
)

// commands is the help screen in its order.
func commands() []*cli.Command {
	return []*cli.Command{
		prepareCommand(), planCommand(), batchCommand(),
		pullCommand(), convertCommand(), quantizeCommand(), imatrixCommand(), smokeCommand(), benchCommand(), tuneCommand(), qualityCommand(), cardCommand(), publishCommand(),
		inspectCommand(), tokenizeCommand(), verifyCommand(), attestCommand(), recordsCommand(), machineCommand(), archsCommand(), schemaCommand(),
		splitCommand(), mergeCommand(), editCommand(),
		runtimeCommand(), queueCommand(), queueWorkerCommand(), completionCommand(), workerCommand(),
	}
}

// action wraps what a command does: it reads the common options and counts the arguments.
func action(least, most int, do func(ctx context.Context, c *cli.Context, o *output) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		o, err := newOutput(c)
		if err != nil {
			return err
		}
		if n := c.NArg(); n < least || most >= 0 && n > most {
			return usagef("`quern "+c.Command.FullName()+" --help` shows the form", "`quern %s %s` is the form; %d arguments were given",
				c.Command.FullName(), c.Command.ArgsUsage, n)
		}
		return do(c.Context, c, o)
	}
}

// findRuntime finds the llama.cpp libraries that the options name, or those that are installed.
func findRuntime(c *cli.Context) (*llamacpp.Runtime, error) {
	return llamacpp.Find(llamacpp.FindOptions{Dir: c.String("llama-lib")})
}

// abs is p as an absolute path where that can be had, for messages that leave the shell.
func abs(p string) string {
	if a, err := filepath.Abs(p); err == nil {
		return a
	}
	return p
}

// ggufFile checks that a path is a GGUF file on this machine before a child is started for it.
func ggufFile(arg string) (string, error) {
	src, err := source.Parse(arg)
	if err != nil {
		return "", err
	}
	if src.Kind != source.GGUF {
		return "", usagef("`quern prepare "+arg+"` makes one", "%s is not a .gguf file", arg)
	}
	return src.Path, nil
}
