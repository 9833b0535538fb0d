package card

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"strings"
	"text/template"

	"quern/quantize/recommend"
	"quern/stages/record"
	"quern/stages/smoke"

	"go.yaml.in/yaml/v4"
)

// front is the card's front matter, as the Hub reads it.
type front struct {
	License  string   `yaml:"license,omitempty"`
	Base     string   `yaml:"base_model,omitempty"`
	Relation string   `yaml:"base_model_relation,omitempty"`
	Library  string   `yaml:"library_name"`
	Tags     []string `yaml:"tags"`
}

// row is a file in the table of types.
type row struct {
	Type, File, Size, Bits, Divergence, Agreement, Perplexity, Speed, Smoke string
}

// page is all that the card's text is filled with.
type page struct {
	Front, Name, Repo, Commit, Arch, Class, License, Quern, LlamaCpp, Platform, Verified, Run, Sample string
	Rows                                                                                              []row
	Machines                                                                                          []string
	Sources                                                                                           []record.FileDigest
	Warnings                                                                                          []string
	Judged                                                                                            bool
}

var text = template.Must(template.New("card").Parse(`---
{{.Front}}---

# {{.Name}} GGUF

{{if .Repo}}[{{.Repo}}](https://huggingface.co/{{.Repo}}) at commit ` + "`{{.Commit}}`" + `{{else}}{{.Name}}{{end}}, converted and quantized by quern{{if .Class}} from {{.Class}}{{end}}.

## Files

| type | file | size | bits a weight |{{if .Judged}} KL divergence | same next token | perplexity |{{end}} speed | tried |
|---|---|---:|---:|{{if .Judged}}---:|---:|---:|{{end}}---:|---|
{{range .Rows}}| {{.Type}} | {{.File}} | {{.Size}} | {{.Bits}} |{{if $.Judged}} {{.Divergence}} | {{.Agreement}} | {{.Perplexity}} |{{end}} {{.Speed}} | {{.Smoke}} |
{{end}}{{if .Judged}}
Divergence, agreement and perplexity are held against the source precision on a held-out text.
{{end}}{{range .Machines}}
Speed was measured on {{.}}.
{{end}}
## How to run

    {{.Run}}

## Where it comes from

- Source: {{if .Repo}}{{.Repo}}, commit {{.Commit}}{{else}}{{.Name}}{{end}}; {{.Verified}}.
- Made by quern {{.Quern}} with the kernels of llama.cpp {{.LlamaCpp}} on {{.Platform}}; architecture ` + "`{{.Arch}}`" + `.
- Every file has a receipt beside it that names the type of each tensor and the rule that chose it:
  ` + "`quern verify {{.Sample}}`" + ` reads every byte, ` + "`sha256sum -c SHA256SUMS`" + ` needs no quern.
{{if .License}}- The licence is the source's: {{.License}}.
{{end}}{{range .Warnings}}- Noticed: {{.}}
{{end}}
| source file | bytes | digest |
|---|---:|---|
{{range .Sources}}| {{.Name}} | {{.Size}} | ` + "`{{.Digest}}`" + ` |
{{end}}`))

// Card is the text of README.md. The receipts are of one model, largest file first.
func Card(rs []*record.Receipt) ([]byte, error) {
	r := rs[0]
	name := r.Source.Repo
	if name == "" {
		name = path.Base(strings.ReplaceAll(r.Source.Model, `\`, "/"))
	}
	p := page{Name: path.Base(name), Repo: r.Source.Repo, Commit: r.Source.Commit, Arch: r.Arch, Class: r.Class, License: r.License, Quern: r.Quern,
		LlamaCpp: r.LlamaCpp, Platform: r.Platform, Verified: r.Source.Verified, Sources: r.Source.Files, Warnings: r.Warnings}
	f := front{License: r.License, Base: r.Source.Repo, Library: "gguf", Tags: []string{"gguf", "quern"}}
	if f.Base != "" {
		f.Relation = "quantized"
	}
	if r.Arch != "" {
		f.Tags = append(f.Tags, r.Arch)
	}
	head, err := yaml.Marshal(f)
	if err != nil {
		return nil, err
	}
	p.Front = string(head)
	for _, r := range rs {
		p.add(r)
	}
	var b bytes.Buffer
	if err := text.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// add puts a file into the table. The way to run it is that of the last one with a setting: the smallest that was planned.
func (p *page) add(r *record.Receipt) {
	if len(r.Outputs) == 0 {
		return
	}
	w := row{Type: r.Type, File: cell(r.Outputs[0].Name), Size: bytesText(size(r)), Bits: fmt.Sprintf("%.2f", r.BPW), Speed: "", Smoke: "not"}
	if r.Recipe != nil {
		w.Type += " (mixture)"
	}
	if r.Projector() {
		w.Type += " (projector)"
		p.Sample = cmp.Or(p.Sample, r.Outputs[0].Name)
	} else {
		p.run(r)
	}
	rec := r.Record()
	if q := rec.Quality; q != nil {
		p.Judged = true
		w.Divergence, w.Agreement = fmt.Sprintf("%.4f", float64(q.Mean)), fmt.Sprintf("%.1f %%", 100*q.SameTop)
		w.Perplexity = fmt.Sprintf("%.3f (source %.3f)", float64(q.Perplexity.Value), float64(q.Divergence.Source.Value))
	}
	if rec.Bench != nil {
		var parts []string
		for _, t := range rec.Bench.Results {
			parts = append(parts, fmt.Sprintf("%s %.1f/s", t.Name, t.TokensPerSecond))
		}
		w.Speed = strings.Join(parts, ", ")
		if m := r.Machine; m != nil && len(parts) > 0 {
			p.on(strings.TrimSpace(fmt.Sprintf("%s, %d cores, %d GiB", m.Chip, m.Cores, m.Memory>>30)))
		}
	}
	if rec.Smoke != nil {
		w.Smoke = "ok"
		if failed := rec.Smoke.Count(smoke.Failed); failed > 0 {
			w.Smoke = fmt.Sprintf("%d of %d checks failed", failed, len(rec.Smoke.Checks))
		}
	}
	p.Rows = append(p.Rows, w)
}

// run takes the file for the one whose use is shown.
func (p *page) run(r *record.Receipt) {
	p.Sample = r.Outputs[0].Name
	setting := recommend.Setting{}
	if r.Setting != nil {
		setting = *r.Setting
	}
	p.Run = setting.Server(p.Sample)
	if len(r.Beside) > 0 {
		p.Run += " --mmproj " + r.Beside[0].Name
	}
}

func (p *page) on(machine string) {
	for _, m := range p.Machines {
		if m == machine {
			return
		}
	}
	p.Machines = append(p.Machines, machine)
}

// cell keeps a name from ending its cell of the table.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }

func bytesText(n int64) string {
	switch f := float64(n); {
	case f < 1e6:
		return fmt.Sprintf("%.1f kB", f/1e3)
	case f < 1e9:
		return fmt.Sprintf("%.1f MB", f/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}
