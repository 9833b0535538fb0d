// Command gen writes the vector kernels of package lanes as Go assembly: one description, three machines.
//
//	go run . -out ..        write the files
//	go run . -out .. -check compare them with what is there
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

const pkg = "lanes"

// describe emits every kernel that all machines share. In flight is the number of groups whose sums run side by side.
func describe(m machine, inFlight int) {
	k := kernel{m, 4 * m.lanes()}
	plainWeights(k)
	importanceWeights(k)
	for _, n := range []int{32, 16} {
		asymmetric(k, n, false, inFlight)
	}
	asymmetric(k, 16, true, inFlight)
	symmetric(k, 16, inFlight)
	symmetric(k, 32, inFlight)
	symmetric(k, 16, 1)
	descent(k, 16, 4)
	nonlinear(k, inFlight)
	positive(k)
}

func main() {
	flags := flag.NewFlagSet("gen", flag.ExitOnError) // avo has taken names of the common one
	out := flags.String("out", "..", "directory of package lanes")
	check := flags.Bool("check", false, "compare instead of writing")
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	files := map[string][]byte{}
	for _, wide := range []bool{false, true} {
		m := newX86(wide)
		describe(m, 2)
		if !wide {
			m.transpose()
			m.requantize()
		}
		if err := m.print(files); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	neon := &arm64{}
	describe(neon, 4) // four lanes: more chains of sums side by side fill the pipelines
	neon.transpose()
	neon.requantize()
	if err := neon.print(files); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := 0
	for name, text := range files {
		path := filepath.Join(*out, name)
		if *check {
			if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, text) {
				fmt.Fprintf(os.Stderr, "%s is not what the generator writes (%v); run: cd quantize/kernel/lanes/gen && go run .\n", name, err)
				status = 1
			}
			continue
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	if status != 0 {
		os.Exit(status)
	}
	fmt.Printf("%d files\n", len(files))
}

// print compiles what was emitted (registers, liveness) and adds the assembly and its Go declarations to files.
func (m *x86) print(files map[string][]byte) error {
	f, err := m.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(f); err != nil {
		return err
	}
	base := map[bool]string{false: "avx2_amd64", true: "avx512_amd64"}[m.wide]
	cfg := printer.Config{Name: "quantize/kernel/lanes/gen", Argv: []string{"gen"}, Pkg: pkg}
	for ext, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(f)
		if err != nil {
			return err
		}
		files[base+ext] = text
	}
	return nil
}
