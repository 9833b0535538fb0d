package pipeline

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// What makes a kept step unfit is said in a few words; a step that nothing changed is proven, in the next process too.
func TestRecall(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	write := func(text string) {
		if err := os.WriteFile(out, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("data")
	step := func(change func(*Step)) Step {
		s := Step{Inputs: []Input{{"in", "sha256:1"}}, Params: map[string]any{"kernel": "auto", "plan": "a long digest of what was decided about the file"},
			Versions: []string{"quern 1"}, Outputs: []string{out}}
		if change != nil {
			change(&s)
		}
		return s
	}
	path := filepath.Join(dir, "ledger", "ledger.json")
	l, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, why := l.Recall("build", step(nil)); why != "no earlier run did it" {
		t.Error(why)
	}
	if err := l.Keep("build", step(nil), 7); err != nil {
		t.Fatal(err)
	}
	if l, err = OpenLedger(path); err != nil {
		t.Fatal(err)
	}
	if r, why := l.Recall("build", step(nil)); why != "" || string(r) != "7" {
		t.Errorf("%s, %s", r, why)
	}
	for want, change := range map[string]func(*Step){
		"it is quern 2 now":                    func(s *Step) { s.Versions = []string{"quern 2"} },
		`kernel was "auto" and is "go"`:        func(s *Step) { s.Params["kernel"] = "go" },
		"plan is not what it was":              func(s *Step) { s.Params["plan"] = "another long digest of what was decided about it" },
		"imatrix is new":                       func(s *Step) { s.Params["imatrix"] = true },
		"in changed":                           func(s *Step) { s.Inputs = []Input{{"in", "sha256:2"}} },
		"it is asked for again":                func(s *Step) { s.Fresh = true },
		"something that it depends on is gone": func(s *Step) { delete(s.Params, "kernel") },
	} {
		if _, why := l.Recall("build", step(change)); why != want {
			t.Errorf("%q, want %q", why, want)
		}
	}
	if err := os.Chtimes(out, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, why := l.Recall("build", step(nil)); why != "out.gguf was changed since" {
		t.Error(why)
	}
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	if _, why := l.Recall("build", step(nil)); why != "out.gguf is gone" {
		t.Error(why)
	}
}

// Many stages keep their steps at once, and all are kept.
func TestKeepConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	l, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	steps := []Step{}
	for i := range 8 {
		steps = append(steps, Step{Inputs: []Input{{string(rune('a' + i)), "x"}}})
	}
	for _, s := range steps {
		wg.Go(func() {
			if err := l.Keep("smoke", s, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if l, err = OpenLedger(path); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if _, why := l.Recall("smoke", s); why != "" {
			t.Error(why)
		}
	}
}

// Events of an entry carry its name.
func TestTagged(t *testing.T) {
	var got []Event
	ev := Tagged{"qwen3", collect(func(e Event) { got = append(got, e) })}
	for _, e := range []Event{Started{}, Progress{}, Line{}, Warning{}, Finished{}, Result{}} {
		ev.Emit(e)
	}
	want := []Event{Started{Entry: "qwen3"}, Progress{Entry: "qwen3"}, Line{Entry: "qwen3"}, Warning{Entry: "qwen3"}, Finished{Entry: "qwen3"}, Result{Entry: "qwen3"}}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%#v, want %#v", got[i], want[i])
		}
	}
}

type collect func(Event)

func (c collect) Emit(e Event) { c(e) }
