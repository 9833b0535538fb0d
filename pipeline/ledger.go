package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// ledgerVersion changes when the meaning of a kept entry does: an older ledger then proves nothing.
const ledgerVersion = 1

// Ledger is what earlier runs proved: for each stage and target the key of the step, its outputs as they were left,
// and its result. It is a JSON file that can be deleted at any time; then everything runs again. It is safe for concurrent use
// within one process.
type Ledger struct {
	path string
	mu   sync.Mutex
	data LedgerFile
}

// LedgerFile is the ledger as it stands on the disk.
type LedgerFile struct {
	Version int              `json:"version"`
	Entries map[string]entry `json:"entries"`
}

type entry struct {
	Key     string          `json:"key"`
	Step    *basis          `json:"step,omitempty"` // what the key is made of, to say why another one differs
	Outputs []output        `json:"outputs"`
	Result  json.RawMessage `json:"result"`
	When    time.Time       `json:"when"`
}

// basis is what a step's key is the digest of.
type basis struct {
	Inputs   []Input           `json:"inputs,omitempty"`
	Params   map[string]string `json:"params,omitempty"` // as JSON
	Versions []string          `json:"versions,omitempty"`
}

// output is a file as a stage left it. Size and modification time stand for its content: what changes a file in place and
// sets its time back is not noticed here, `verify` reads every byte.
type output struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
}

// OpenLedger reads the ledger at path. A missing file, an older version or a damaged one is an empty ledger.
func OpenLedger(path string) (*Ledger, error) {
	l := &Ledger{path: path}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil || json.Unmarshal(b, &l.data) != nil || l.data.Version != ledgerVersion {
		l.data = LedgerFile{}
	}
	if l.data.Entries == nil {
		l.data.Entries = map[string]entry{}
	}
	l.data.Version = ledgerVersion
	return l, nil
}

// Recall gives the kept result of a step that an earlier run carried out with the same inputs, parameters and versions, if
// each of its outputs is still the file that it left. Otherwise why says, in a few words, what is not as it was.
func (l *Ledger) Recall(stage string, step Step) (result json.RawMessage, why string) {
	l.mu.Lock()
	e, ok := l.data.Entries[slot(stage, step)]
	l.mu.Unlock()
	switch {
	case step.Fresh:
		return nil, "it is asked for again"
	case !ok:
		return nil, "no earlier run did it"
	case e.Key != step.Key():
		return nil, e.Step.differs(newBasis(step))
	}
	for _, o := range e.Outputs {
		fi, err := os.Stat(o.Path)
		switch {
		case err != nil:
			return nil, filepath.Base(o.Path) + " is gone"
		case fi.Size() != o.Size || !fi.ModTime().Equal(o.ModTime):
			return nil, filepath.Base(o.Path) + " was changed since"
		}
	}
	return e.Result, ""
}

// Keep records a step that succeeded and writes the ledger.
func (l *Ledger) Keep(stage string, step Step, result any) error {
	e := entry{Key: step.Key(), Step: newBasis(step), Outputs: []output{}, When: time.Now().UTC()}
	for _, p := range step.Outputs {
		fi, err := os.Stat(p)
		if err != nil {
			return err
		}
		e.Outputs = append(e.Outputs, output{p, fi.Size(), fi.ModTime()})
	}
	var err error
	if e.Result, err = json.Marshal(result); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data.Entries[slot(stage, step)] = e
	b, err := json.MarshalIndent(l.data, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o777); err != nil {
		return err
	}
	return renameio.WriteFile(l.path, b, 0o644)
}

func newBasis(s Step) *basis {
	b := &basis{Inputs: s.Inputs, Versions: s.Versions, Params: map[string]string{}}
	for k, v := range s.Params {
		j, err := json.Marshal(v)
		if err != nil {
			j = []byte(err.Error()) // such a step is never proven
		}
		b.Params[k] = string(j)
	}
	return b
}

// differs names the first thing that changed: versions before parameters before inputs, since the former change the latter.
func (b *basis) differs(now *basis) string {
	if b == nil {
		return "an earlier version of the ledger did not keep what it depends on"
	}
	for _, v := range now.Versions {
		if !slices.Contains(b.Versions, v) {
			return "it is " + v + " now"
		}
	}
	for _, k := range slices.Sorted(maps.Keys(now.Params)) {
		old, had := b.Params[k]
		switch {
		case !had:
			return filepath.Base(k) + " is new"
		case old != now.Params[k] && len(old) < 40 && len(now.Params[k]) < 40:
			return fmt.Sprintf("%s was %s and is %s", filepath.Base(k), old, now.Params[k])
		case old != now.Params[k]:
			return filepath.Base(k) + " is not what it was"
		}
	}
	before := map[string]string{}
	for _, in := range b.Inputs {
		before[in.Name] = in.Digest
	}
	for _, in := range now.Inputs {
		if before[in.Name] != in.Digest {
			return filepath.Base(in.Name) + " changed"
		}
	}
	return "something that it depends on is gone"
}

// Key is the digest of all that shapes the step's result.
func (s Step) Key() string {
	b, err := json.Marshal(struct {
		I []Input
		P map[string]any
		V []string
		O []string
	}{s.Inputs, s.Params, s.Versions, s.Outputs})
	if err != nil { // a parameter that JSON cannot hold: such a step is never proven
		b = fmt.Appendf(nil, "%v %d", err, time.Now().UnixNano())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// slot is where a step is kept: one entry for a stage with the files that it reads and writes, so that new parameters
// replace old ones.
func slot(stage string, step Step) string {
	names := append([]string{}, step.Outputs...)
	for _, in := range step.Inputs {
		names = append(names, in.Name)
	}
	b, _ := json.Marshal(names) // strings always marshal
	sum := sha256.Sum256(b)
	return stage + "-" + hex.EncodeToString(sum[:8])
}
