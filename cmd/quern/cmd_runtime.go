package main

import (
	"context"
	"runtime"
	"strings"

	"quern/convert/fault"
	"quern/pipeline"
	"quern/quantize/llamacpp"

	"github.com/urfave/cli/v2"
)

func runtimeCommand() *cli.Command {
	return &cli.Command{
		Name: "runtime", Category: groupSetup, Usage: "the llama.cpp libraries that this build was verified with",
		Subcommands: []*cli.Command{
			{
				Name: "install", Usage: "fetch the pinned libraries, verify their digest, unpack them into the user data directory",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "force", Usage: "install again over what is there"},
					&cli.BoolFlag{Name: "dry-run", Usage: "say what would be fetched and where it would go"},
					&cli.StringFlag{Name: "platform", Usage: "`OS/ARCH` to fetch for, such as darwin/arm64; needs --dir"},
					&cli.StringFlag{Name: "dir", Usage: "`FOLDER` to unpack into"},
				},
				Action: action(0, 0, installRuntime),
			},
			{Name: "status", Usage: "which libraries are used, and their version", Action: action(0, 0, runtimeStatus)},
		},
	}
}

// runtimeReport is what `runtime status` shows.
type runtimeReport struct {
	Dir     string `json:"dir"`
	Origin  string `json:"origin"`
	Version string `json:"version"`
	Package string `json:"package,omitempty"`
	Already bool   `json:"already,omitempty"` // of install: it was there and verified
}

// packageLine is what an install would fetch: the "package" result of --json.
type packageLine struct {
	Name      string `json:"name"` // of npm
	Version   string `json:"version"`
	Platform  string `json:"platform"`            // GOOS/GOARCH
	Integrity string `json:"integrity,omitempty"` // SHA-512 of the package, where quern's source has it
}

// runtimeStatus shows the libraries that would be used and asks them for their version, so that an error shows here
// and not in the middle of a preparation.
func runtimeStatus(ctx context.Context, c *cli.Context, o *output) error {
	rt, err := findRuntime(c)
	if err != nil {
		return err
	}
	v, err := rt.CheckVersion()
	if err != nil {
		return err
	}
	r := runtimeReport{Dir: rt.Dir, Origin: string(rt.Origin), Version: v}
	if rt.Manifest != nil {
		r.Package = rt.Manifest.Package
	}
	o.Emit(pipeline.Result{Type: "runtime", Data: r})
	o.printf("llama.cpp %s (%s) in %s, found as %s\n", v, llamacpp.Version, rt.Dir, rt.Origin)
	return nil
}

// installRuntime fetches the libraries of this platform, or of another one for an archive that carries them.
func installRuntime(ctx context.Context, c *cli.Context, o *output) error {
	opts := llamacpp.InstallOptions{Dir: c.String("dir"), Force: c.Bool("force"),
		Say: func(s string) { o.Emit(pipeline.Started{Stage: "runtime", Says: s}) }}
	if p := c.String("platform"); p != "" {
		goos, goarch, ok := strings.Cut(p, "/")
		if !ok || opts.Dir == "" {
			return usagef("for example `--platform darwin/arm64 --dir dist/lib`", "--platform takes OS/ARCH and needs --dir")
		}
		opts.OS, opts.Arch = goos, goarch
	}
	if c.Bool("dry-run") {
		goos, goarch := orElse(opts.OS, runtime.GOOS), orElse(opts.Arch, runtime.GOARCH)
		p, ok := llamacpp.PackageFor(goos, goarch)
		if !ok {
			return &fault.Unsupported{On: goos + "/" + goarch, Says: "no package of the llama.cpp libraries is known", Next: "build llama.cpp " + llamacpp.Version + " and name its folder with --llama-lib"}
		}
		o.Emit(pipeline.Result{Type: "package", Data: packageLine{p.Name, p.Version, goos + "/" + goarch, p.Integrity}})
		o.printf("would fetch %s %s for %s/%s\n", p.Name, p.Version, goos, goarch)
		return nil
	}
	in, err := llamacpp.Install(ctx, opts)
	if err != nil {
		return err
	}
	o.Emit(pipeline.Result{Type: "runtime", Data: runtimeReport{Dir: in.Dir, Origin: string(llamacpp.FromInstalled), Version: in.Manifest.Version, Package: in.Manifest.Package, Already: in.Already}})
	if in.Note != "" {
		o.Emit(pipeline.Warning{Stage: "runtime", Says: in.Note})
	}
	word := "installed"
	if in.Already {
		word = "already installed and verified"
	}
	o.printf("llama.cpp %s %s: %s\n", in.Manifest.Version, word, in.Dir)
	return nil
}
