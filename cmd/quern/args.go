package main

import (
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// reorder puts the options of a command line before its arguments, since the flag package stops at the first argument.
// The result is: program, command words, options, "--", arguments. Unknown commands and options are refused here, with the
// nearest known one as the hint.
func reorder(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 || args[len(args)-1] == "--generate-bash-completion" {
		return args, nil
	}
	if words := args[1:]; words[0] == "help" {
		return args, nil
	}
	out := []string{args[0]}
	var opts, rest []string
	var cmd *cli.Command
	cmds, flags := app.Commands, app.Flags
	words := args[1:]
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "--":
			rest = append(rest, words[i+1:]...)
			i = len(words)
		case len(w) > 1 && w[0] == '-':
			n, err := option(words[i:], flagsOf(flags, cmd), cmd)
			if err != nil {
				return nil, err
			}
			opts = append(opts, words[i:i+n]...)
			i += n - 1
		default:
			if sub := find(cmds, w); sub != nil && len(rest) == 0 {
				cmd, cmds = sub, sub.Subcommands
				out = append(out, sub.Name)
				continue
			}
			if cmd == nil || len(cmd.Subcommands) > 0 && len(rest) == 0 {
				return nil, unknownCommand(cmds, w)
			}
			rest = append(rest, w)
		}
	}
	out = append(out, opts...)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out, nil
}

// option tells how many words the option at the head of words takes: 1, or 2 with its value.
func option(words []string, flags []cli.Flag, cmd *cli.Command) (int, error) {
	name, _, hasValue := strings.Cut(strings.TrimLeft(words[0], "-"), "=")
	if name == "h" || name == "help" || name == "v" || name == "version" || name == "generate-bash-completion" {
		return 1, nil
	}
	var names []string
	for _, f := range flags {
		for _, n := range f.Names() {
			names = append(names, n)
			if n != name {
				continue
			}
			if _, isBool := f.(*cli.BoolFlag); isBool || hasValue {
				return 1, nil
			}
			if len(words) < 2 {
				return 0, usagef("", "option --%s needs a value", name)
			}
			return 2, nil
		}
	}
	where := "quern"
	if cmd != nil {
		where = "quern " + cmd.Name
	}
	return 0, usagef(nearest("--", name, names, "`"+where+" --help` lists the options"), "unknown option %s of `%s`", words[0], where)
}

// flagsOf is every option that may stand on the line: before the command is known those of all commands, since a line may
// open with an option of the command that follows.
func flagsOf(global []cli.Flag, cmd *cli.Command) []cli.Flag {
	if cmd != nil {
		return append(append([]cli.Flag{}, global...), cmd.Flags...)
	}
	return append(append([]cli.Flag{}, global...), commonFlags()...)
}

func find(cmds []*cli.Command, name string) *cli.Command {
	for _, c := range cmds {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

func unknownCommand(cmds []*cli.Command, w string) error {
	var names []string
	for _, c := range cmds {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return usagef(nearest("", w, names, "`quern help` lists the commands"), "unknown command %q", w)
}

// nearest is a hint with the known name that is most alike, or otherwise where the names are listed.
func nearest(prefix, name string, known []string, otherwise string) string {
	best, score := "", 0.80
	for _, k := range known {
		if s := smetrics.JaroWinkler(name, k, 0.7, 4); s > score {
			best, score = k, s
		}
	}
	if best == "" {
		return otherwise
	}
	return "did you mean `" + prefix + best + "`? " + otherwise
}

// wantsJSON tells whether --json stands among the words, for errors that come before the options are parsed.
func wantsJSON(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == "--json" || a == "-json" || a == "--json=true" {
			return true
		}
	}
	return false
}
