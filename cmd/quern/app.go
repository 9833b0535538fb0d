package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"quern/quantize/llamacpp"

	"github.com/urfave/cli/v2"
)

// groups are the headings of the help screen, in the order in which a person meets them.
const (
	groupMain  = "1 Main"
	groupSteps = "2 Steps"
	groupLook  = "3 Look"
	groupFiles = "4 Files"
	groupSetup = "5 Set-up"
)

// quietDefaults takes the defaults off the help that say nothing: an option that is off, a number or a time that is not set.
var quietDefaults = strings.NewReplacer(" (default: false)", "", " (default: 0)", "", " (default: 0s)", "")

func init() {
	describe := cli.FlagStringer
	cli.FlagStringer = func(f cli.Flag) string { return quietDefaults.Replace(describe(f)) }
}

// newApp is the whole command line: each command stands in a file of its own.
func newApp() *cli.App {
	app := &cli.App{
		Name:  "quern",
		Usage: "mill Hugging Face checkpoints into GGUF files that fit this machine",
		Description: "MODEL is org/name, org/name@revision, hf:org/name/file.gguf, a checkpoint folder, a .gguf file, or \"pocket\", the built-in model.\n" +
			"Results go to standard output, everything else to standard error. Nothing is ever asked.\n\n" + exitHelp(),
		Version:              version(),
		EnableBashCompletion: true,
		HideHelpCommand:      false,
		Suggest:              true,
		// a comma belongs to patterns ("w{1,2}") and texts; lists of types are cut where they are read
		DisableSliceFlagSeparator: true,
		Flags:                     commonFlags(),
		Commands:                  commands(),
		ExitErrHandler:            func(*cli.Context, error) {}, // run gives the exit code
		OnUsageError:              usage,
		CommandNotFound:           nil,
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return unknownCommand(c.App.Commands, c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, c := range app.Commands {
		finish(c)
	}
	return app
}

// finish gives a command what all have: the common options, usage errors of the one type.
func finish(c *cli.Command) {
	c.OnUsageError = usage
	c.HideHelpCommand = true
	if len(c.Subcommands) == 0 {
		c.Flags = append(c.Flags, commonFlags()...)
	}
	for _, s := range c.Subcommands {
		finish(s)
	}
}

// usage gives the errors of the command-line library our form, and with it the exit code of usage errors.
func usage(_ *cli.Context, err error, _ bool) error {
	return usagef("`quern help` lists commands and options", "%s", err)
}

// commonFlags may stand with every command.
func commonFlags() []cli.Flag {
	const common = "Common"
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "one JSON object a line on standard output", Category: common},
		&cli.StringFlag{Name: "progress", Value: "auto", Usage: "`MODE`: auto, tty, plain, json, quiet", Category: common},
		&cli.BoolFlag{Name: "debug", Usage: "log requests and decisions to standard error, without secrets", Category: common},
		&cli.StringFlag{Name: "llama-lib", Usage: "`DIR` with the llama.cpp libraries (" + llamacpp.Version + ")", EnvVars: []string{"QUERN_LLAMA_LIB"}, Category: common},
	}
}

// exitHelp is the part of the help that lists the exit codes, made of their table.
func exitHelp() string {
	s := "Exit codes:\n"
	for _, e := range exits {
		s += fmt.Sprintf("  %3d  %s\n", e.Code, e.Meaning)
	}
	return s
}

// quernVersion is the program's own version.
func quernVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// version is the program's own, and the llama.cpp that it was verified with.
func version() string {
	return fmt.Sprintf("%s (verified with llama.cpp %s)", quernVersion(), llamacpp.Version)
}
