package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"quern/convert/fault"
	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/quantize/recommend"

	"github.com/urfave/cli/v2"
)

func machineCommand() *cli.Command {
	return &cli.Command{
		Name: "machine", Category: groupLook, Usage: "show what this machine is, what fits it, and what is missing",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "for", Usage: "show the machine that `TEXT` describes, such as \"M3 Pro 18GB\""},
			&cli.StringSliceFlag{Name: "from", Usage: "read recorded outputs of macOS tools from `FILE` (sysctl, ioreg, displays, metal log); may be repeated"},
			&cli.BoolFlag{Name: "list", Usage: "list the chips of the table"},
		},
		Action: action(0, 0, showMachine),
	}
}

// machineReport is the machine with what quern makes of it.
type machineReport struct {
	*machine.Machine
	Budget    int64    `json:"budget_bytes"`
	BudgetWhy string   `json:"budget_reason"`
	Runtime   string   `json:"runtime,omitempty"`
	Missing   []string `json:"missing,omitempty"`
}

func showMachine(ctx context.Context, c *cli.Context, o *output) error {
	if c.Bool("list") {
		for _, ch := range machine.Chips {
			o.Emit(pipeline.Result{Type: "chip", Data: ch})
			o.printf("%-15s %-9s %2d GPU cores %5d GB/s  %v GB\n", ch.Name, ch.CPU, ch.GPUCores, ch.Bandwidth, ch.RAM)
		}
		return nil
	}
	m, err := machineOf(ctx, c)
	if err != nil {
		return err
	}
	r := machineReport{Machine: m}
	r.Budget, r.BudgetWhy = recommend.Budget(m)
	here := c.String("for") == "" && len(c.StringSlice("from")) == 0
	if here {
		r.Missing = m.Missing()
		if rt, err := findRuntime(c); err != nil {
			r.Missing = append(r.Missing, "llama.cpp libraries: "+hintOf(err))
		} else {
			r.Runtime = fmt.Sprintf("llama.cpp %s, %s (%s)", llamacpp.Version, rt.Dir, rt.Origin)
		}
	}
	o.Emit(pipeline.Result{Type: "machine", Data: r})
	r.print(o)
	return nil
}

// machineOf is the machine that the options describe, or this one.
func machineOf(ctx context.Context, c *cli.Context) (*machine.Machine, error) {
	if t := c.String("for"); t != "" {
		return machine.For(t)
	}
	files := c.StringSlice("from")
	if len(files) == 0 {
		return machine.Detect(ctx, "."), nil
	}
	m := &machine.Machine{OS: "macos", Arch: "arm64"}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		if err := m.ParseAny(string(b)); err != nil {
			return nil, &fault.Invalid{On: f, Says: err.Error(), Next: "recordings of sysctl, ioreg, system_profiler -json and llama.cpp's Metal log are read"}
		}
	}
	m.Complete()
	return m, nil
}

func (r machineReport) print(o *output) {
	line := func(label, format string, a ...any) { o.printf("%-12s "+format+"\n", append([]any{label}, a...)...) }
	m := r.Machine
	line("chip", "%s (%s)", orElse(m.Chip, "unknown"), m.Arch)
	if m.Model != "" {
		line("model", "%s", m.Model)
	}
	line("system", "%s %s", m.OS, m.OSVersion)
	line("cores", "%s", coresText(m))
	if m.Memory > 0 {
		line("memory", "%s, %s available", gibText(m.Memory), gibText(m.Available))
	}
	if m.GPUCores > 0 {
		line("gpu", "%d cores, Metal family %d%s", m.GPUCores, m.GPUFamily, map[bool]string{true: ", tensor units"}[m.HasTensor])
	}
	if m.Bandwidth > 0 {
		line("bandwidth", "%d GB/s", m.Bandwidth)
	}
	if m.WorkingSet > 0 {
		line("working set", "%s", gibText(m.WorkingSet))
	}
	if m.Memory > 0 {
		line("budget", "%s: %s", gibText(r.Budget), r.BudgetWhy)
	}
	if m.DiskFree > 0 {
		line("disk", "%s free in %s", gibText(m.DiskFree), filepath.Base(abs(".")))
	}
	if len(m.Features) > 0 {
		line("features", "%s", strings.Join(m.Features, " "))
	}
	if r.Runtime != "" {
		line("runtime", "%s", r.Runtime)
	}
	if len(m.Assumed) > 0 {
		line("assumed", "%s: from the table, not from the machine", strings.Join(m.Assumed, ", "))
	}
	for _, miss := range r.Missing {
		line("missing", "%s", miss)
	}
}

func coresText(m *machine.Machine) string {
	if len(m.Levels) == 0 {
		return fmt.Sprintf("%d", m.Cores)
	}
	var parts []string
	for _, l := range m.Levels {
		parts = append(parts, fmt.Sprintf("%d %s", l.Cores, l.Name))
	}
	return fmt.Sprintf("%d (%s); %d for inference", m.Cores, strings.Join(parts, ", "), m.FastCores())
}

func gibText(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
