package publish

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"quern/hfclient"
	"quern/pipeline"
)

// Kind is where files can go.
type Kind string

// The kinds of targets, each by the word before its colon.
const (
	Hub      Kind = "hf"
	Registry Kind = "oci"
	Dir      Kind = "dir"
	Ollama   Kind = "ollama"
	LMStudio Kind = "lmstudio"
	LlamaCpp Kind = "llama.cpp"
)

// forms are the kinds with what follows their colon, for help and for mistakes.
var forms = []string{"hf:org/name", "oci://registry/name[:tag]", "dir:PATH", "ollama:NAME[:tag]", "lmstudio:[publisher/name]", "llama.cpp:[org/name]"}

// Forms lists how targets are written.
func Forms() string { return strings.Join(forms, " | ") }

// Target is one place.
type Target struct {
	Kind Kind
	Name string // what stands after the colon; empty where the model's name serves
	Tag  string // of a registry or of Ollama; the branch of a repository on the Hub
}

// String is the target as it is written.
func (t Target) String() string {
	switch {
	case t.Kind == Registry:
		return "oci://" + join(t.Name, ":", t.Tag)
	case t.Kind == Hub:
		return "hf:" + join(t.Name, "@", t.Tag)
	}
	return string(t.Kind) + ":" + join(t.Name, ":", t.Tag)
}

func join(name, sep, tag string) string {
	if tag == "" {
		return name
	}
	return name + sep + tag
}

// Leaves tells whether files leave this machine.
func (t Target) Leaves() bool { return t.Kind == Hub || t.Kind == Registry }

// TargetError is a target that cannot be right.
type TargetError struct{ Target, Says string }

// Error names the target.
func (e *TargetError) Error() string { return fmt.Sprintf("--to %s: %s", e.Target, e.Says) }

// Hint lists the forms.
func (e *TargetError) Hint() string { return "write " + Forms() }

var (
	pair       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	tagName    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	ollamaName = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.:-]*/)?([A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// Parse reads a target. The error is a *TargetError.
func Parse(s string) (Target, error) {
	kind, rest, ok := strings.Cut(s, ":")
	t := Target{Kind: Kind(kind), Name: rest}
	bad := func(says string) (Target, error) { return Target{}, &TargetError{s, says} }
	if !ok {
		return bad("no kind of target stands before a colon")
	}
	switch t.Kind {
	case Hub:
		t.Name, t.Tag, _ = strings.Cut(rest, "@")
		if !pair.MatchString(t.Name) || hfclient.CheckRepo(t.Name) != nil {
			return bad("a repository is written org/name")
		}
	case Registry:
		if t.Name, ok = strings.CutPrefix(rest, "//"); !ok {
			return bad("two slashes stand before a registry")
		}
		t.Name, t.Tag = cutTag(t.Name)
		if strings.Count(t.Name, "/") < 1 || t.Tag != "" && !tagName.MatchString(t.Tag) {
			return bad("a registry is written registry/name or registry/name:tag")
		}
	case Dir:
		if rest == "" {
			return bad("a folder is missing")
		}
	case Ollama:
		t.Name, t.Tag = cutTag(rest)
		if !ollamaName.MatchString(t.Name) || t.Tag != "" && !tagName.MatchString(t.Tag) {
			return bad("a name for Ollama is written name, user/name or name:tag")
		}
	case LMStudio, LlamaCpp:
		if rest != "" && (!pair.MatchString(rest) || hfclient.CheckRepo(rest) != nil) {
			return bad("a model is written publisher/name there")
		}
	default:
		return bad("this kind of target is not known")
	}
	return t, nil
}

// cutTag takes a tag off; a colon before the last slash belongs to a port.
func cutTag(s string) (name, tag string) {
	if i := strings.LastIndex(s, ":"); i > strings.LastIndex(s, "/") {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// Options say how to publish.
type Options struct {
	Public     bool   // what is new on the Hub is open to all
	Permission bool   // the user has the right to pass the model on, whatever the licence says
	DryRun     bool   // say what would be done
	Message    string // of the commit on the Hub
	Layout     Layout // of a registry's artifact
	Template   []byte // Ollama's own chat template; nil: none
	PlainHTTP  bool   // speak HTTP with a registry that is not on this machine
	Hub        *hfclient.Client
	Env        func(string) string // the environment; os.Getenv outside tests
	Version    string              // of quern, for user agents
}

// Move is one thing that is brought somewhere.
type Move struct {
	File  string `json:"file"`
	To    string `json:"to"`
	Bytes int64  `json:"bytes"`
	How   string `json:"how,omitempty"` // sent, there already, linked, cloned, copied, made
}

// Done is what became of a target.
type Done struct {
	Target  string `json:"target"`
	URL     string `json:"url,omitempty"`
	Version string `json:"version,omitempty"` // commit, or digest of a manifest
	Moves   []Move `json:"moves"`
	Sent    int64  `json:"bytes_sent"` // over the network
	Run     string `json:"run,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// Send brings the folder to the target. What the licence demands and who lets in only some is said.
func Send(ctx context.Context, f *Folder, t Target, o Options, ev pipeline.Events) (*Done, error) {
	if t.Leaves() {
		if err := f.say(o, ev); err != nil {
			return nil, err
		}
	}
	if t.Name == "" {
		t.Name = "quern/" + f.name() + "-GGUF"
	}
	if len(f.Models) == 0 && t.Kind != Hub && t.Kind != Dir {
		return nil, &TargetError{t.String(), "the folder has no model, only what is loaded with one"}
	}
	send := map[Kind]func(context.Context, *Folder, Target, Options, pipeline.Events) (*Done, error){
		Hub: toHub, Registry: toRegistry, Dir: toDir, Ollama: toOllama, LMStudio: toLMStudio, LlamaCpp: toLlamaCpp,
	}[t.Kind]
	d, err := send(ctx, f, t, o, ev)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	d.Target, d.DryRun = t.String(), o.DryRun
	return d, nil
}

// say tells what goes with the licence; the error is a *LicenceError.
func (f *Folder) say(o Options, ev pipeline.Events) error {
	with, err := f.mayPass()
	switch {
	case err != nil && !o.Permission:
		return err
	case err != nil:
		ev.Emit(pipeline.Warning{Stage: "publish", Says: err.Error() + "; it is published on your word"})
	case with != "":
		ev.Emit(pipeline.Line{Stage: "publish", Label: "licence", Text: f.Licence.String() + ": " + with})
	case f.Licence.ID == "":
		ev.Emit(pipeline.Warning{Stage: "publish", Says: "no licence is stated", Next: "put one into the front matter of " + f.Dir + "/README.md"})
	}
	if f.Source.Gated != "" {
		ev.Emit(pipeline.Warning{Stage: "publish", Says: f.Source.Repo + " lets in only who accepted its terms there; who downloads this copy has not been asked"})
	}
	return nil
}

// name is the model's, without its owner.
func (f *Folder) name() string {
	n := f.Source.Repo
	if n == "" {
		n = strings.ReplaceAll(f.Source.Model, `\`, "/")
	}
	return strings.TrimSuffix(path.Base(n), "-GGUF")
}

// only is the one model that a target with one place takes.
func (f *Folder) only(t Target) ([]Model, error) {
	if len(f.Models) == 1 || t.Tag == "" {
		return f.Models, nil
	}
	var has []string
	for _, m := range f.Models {
		has = append(has, m.Receipt.Type)
	}
	return nil, &TargetError{t.String(), fmt.Sprintf("a tag is one model, and there are %s: --quant chooses one; without a tag each gets its type for a tag", strings.Join(has, ", "))}
}
