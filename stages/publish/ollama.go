package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"quern/pipeline"
)

// ProgramError says that a program of this machine is missing or failed.
type ProgramError struct {
	Program, Says string
	Log           []string
	Err           error
}

// Error names the program.
func (e *ProgramError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s %s: %v", e.Program, e.Says, e.Err)
	}
	return e.Program + " " + e.Says
}

// Hint says what to do about it.
func (e *ProgramError) Hint() string {
	if errors.Is(e.Err, exec.ErrNotFound) {
		return "install it from ollama.com/download, or name another target"
	}
	return "is its server running? `ollama serve` starts it"
}

// Unwrap gives the cause.
func (e *ProgramError) Unwrap() error { return e.Err }

// Detail are the program's last words.
func (e *ProgramError) Detail() []string { return e.Log }

// maxLog bounds what is kept of a program's output.
const maxLog = 20 // lines

// toOllama has the installed program take each model in: it copies the file into its own store.
func toOllama(ctx context.Context, f *Folder, t Target, o Options, ev pipeline.Events) (*Done, error) {
	models, err := f.only(t)
	if err != nil {
		return nil, err
	}
	d := &Done{}
	for _, m := range models {
		if len(m.Parts) > 1 {
			return nil, &TargetError{t.String(), m.Parts[0].Name + " is in parts, and Ollama takes whole files: `quern merge` makes one"}
		}
	}
	for _, m := range models {
		tag := t.Tag
		if tag == "" {
			tag = strings.ToLower(m.Receipt.Type)
		}
		name := t.Name + ":" + tag
		if len(m.Projector) > 0 {
			ev.Emit(pipeline.Warning{Stage: "publish", Says: m.Projector[0].Name + " is left out: `ollama create` takes no projector beside a model; the text model works",
				Next: "--to oci://... --layout ollama carries both"})
		}
		d.Moves = append(d.Moves, Move{File: m.Parts[0].Name, To: name, Bytes: m.Parts[0].Size, How: "made"})
		d.Run = "ollama run " + name
		if o.DryRun {
			continue
		}
		if err := ollamaCreate(ctx, m, name, f.Licence); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// ollamaCreate runs the program on a Modelfile that names the file where it is.
func ollamaCreate(ctx context.Context, m Model, name string, l Licence) error {
	program, err := exec.LookPath("ollama")
	if err != nil {
		return &ProgramError{Program: "ollama", Says: "was not found", Err: err}
	}
	dir, err := os.MkdirTemp("", "quern-ollama-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	from, err := filepath.Abs(m.Parts[0].Path)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "Modelfile")
	if err := os.WriteFile(file, []byte(modelfile(m, from, l)), 0o600); err != nil {
		return err
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "create", name, "-f", file)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		return &ProgramError{Program: "ollama create " + name, Says: "failed", Log: lines[max(0, len(lines)-maxLog):], Err: errors.Join(ctx.Err(), err)}
	}
	return nil
}

// modelfile is what Ollama reads. The chat template is the file's own: Ollama knows it by its text.
func modelfile(m Model, from string, l Licence) string {
	s := "FROM " + from + "\n"
	if set := m.Receipt.Setting; set != nil {
		s = set.Modelfile(from)
	}
	if l.ID != "" {
		s += "LICENSE " + quoted(l.String()+" "+l.Link) + "\n"
	}
	return s
}

// quoted is a text on one line of a Modelfile.
func quoted(s string) string {
	return `"` + strings.TrimSpace(strings.NewReplacer(`"`, "", "\n", " ").Replace(s)) + `"`
}
