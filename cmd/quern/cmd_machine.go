package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	Power     string   `json:"power,omitempty"`
	Runtime   string   `json:"runtime,omitempty"`
	Missing   []string `json:"missing,omitempty"`

	Devices []llamacpp.Device `json:"devices,omitempty"` // that the runtime reports
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
	if here := c.String("for") == "" && len(c.StringSlice("from")) == 0; here {
		r.Power, r.Missing = machine.PowerNow(ctx).String(), m.Missing()
		r.askRuntime(ctx, c)
	}
	r.Budget, r.BudgetWhy = recommend.Budget(m)
	o.Emit(pipeline.Result{Type: "machine", Data: r})
	r.print(o)
	return nil
}

// askRuntime starts the llama.cpp libraries in a child: which version they are, what they compute on, and on a Mac how much memory
// Metal would take at most, which replaces the table's value.
func (r *machineReport) askRuntime(ctx context.Context, c *cli.Context) {
	rt, err := findRuntime(c)
	if err != nil {
		r.Missing = append(r.Missing, "llama.cpp libraries: "+hintOf(err))
		return
	}
	r.Runtime = fmt.Sprintf("llama.cpp %s, %s (%s)", llamacpp.Version, rt.Dir, rt.Origin)
	child, err := llamacpp.Start(ctx, rt, workerOf(c), llamacpp.StartOptions{})
	if err != nil {
		r.Missing = append(r.Missing, "a runtime that starts: "+strings.TrimSuffix(errorText(err)+": "+hintOf(err), ": "))
		return
	}
	defer child.Close()
	r.Devices = child.System.Devices
	metal := false
	for _, d := range r.Devices {
		if d.Backend == "MTL" || strings.HasPrefix(d.Backend, "Metal") {
			metal = true
			r.Machine.LiveWorkingSet(int64(d.Total))
		}
	}
	if r.Machine.Apple() && !metal {
		r.Missing = append(r.Missing, "Metal: this runtime has no Metal device; `quern runtime install` brings one that has")
	}
	if slow := slowBuild(r.Features, child.System.Features); slow != "" {
		r.Missing = append(r.Missing, "a faster build: the runtime does not use "+slow+", which this processor has; `quern runtime install` brings one that does")
	}
}

// slowBuild names the widest vector instructions that the processor has and the runtime does not use, "" where there are none.
// says is what llama_print_system_info writes, such as "AVX2 = 1 | FMA = 1".
func slowBuild(has []string, says string) string {
	if says == "" {
		return ""
	}
	for _, f := range []string{"avx512f", "avx2", "asimddp"} {
		name := map[string]string{"avx512f": "AVX512", "avx2": "AVX2", "asimddp": "DOTPROD"}[f]
		if slices.Contains(has, f) && !strings.Contains(says, name+" = 1") {
			return name
		}
	}
	return ""
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
	line("system", "%s", strings.TrimSpace(m.OS+" "+m.OSVersion))
	line("cores", "%s", coresText(m))
	if m.Memory > 0 {
		line("memory", "%s", memoryText(m))
	}
	if m.GPUCores > 0 {
		line("gpu", "%d cores, Metal family %d%s", m.GPUCores, m.GPUFamily, map[bool]string{true: ", tensor units"}[m.HasTensor])
	}
	if m.Bandwidth > 0 {
		line("bandwidth", "%d GB/s", m.Bandwidth)
	}
	if m.WorkingSet > 0 {
		line("working set", "%s: the most that Metal takes", recommend.Size(m.WorkingSet))
	}
	if m.WiredLimit > 0 {
		line("wired limit", "%s, set by iogpu.wired_limit_mb", recommend.Size(m.WiredLimit))
	}
	if m.Memory > 0 {
		line("budget", "%s for a model: %s", recommend.Size(r.Budget), r.BudgetWhy)
	}
	if r.Power != "" {
		line("power", "%s", r.Power)
	}
	if m.DiskFree > 0 {
		line("disk", "%s free in %s", recommend.Size(m.DiskFree), filepath.Base(abs(".")))
	}
	if len(m.Features) > 0 {
		line("features", "%s", strings.Join(m.Features, " "))
	}
	if r.Runtime != "" {
		line("runtime", "%s", r.Runtime)
	}
	for _, d := range r.Devices {
		line("device", "%s", deviceText(d))
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

// memoryText gives a Mac's memory as it is sold, in powers of two.
func memoryText(m *machine.Machine) string {
	t := recommend.Size(m.Memory)
	if m.Apple() {
		t = fmt.Sprintf("%d GB as sold (%s in powers of ten)", m.Memory>>30, t)
	}
	if m.Available > 0 && m.Available < m.Memory {
		t += ", " + recommend.Size(m.Available) + " available"
	}
	return t
}

func deviceText(d llamacpp.Device) string {
	t := d.Name
	if d.Description != "" && d.Description != d.Name {
		t += ", " + strings.TrimSpace(d.Description)
	}
	if d.Total > 0 {
		t += ", " + recommend.Size(int64(d.Total))
	}
	return t
}
