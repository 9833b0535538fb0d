package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/recommend"
	"quern/stages/job"

	"github.com/gofrs/flock"
)

// RecordVersion is the form of records.
const RecordVersion = 1

// Record is one line of the record file: a model on a machine, and what was measured.
type Record struct {
	Version  int       `json:"record_version"`
	When     time.Time `json:"when"`
	ID       string    `json:"id"` // short, unique among this user's records
	Model    string    `json:"model"`
	Commit   string    `json:"commit,omitempty"`
	Type     string    `json:"file_type"`
	Bytes    int64     `json:"bytes"`
	SHA256   string    `json:"sha256,omitempty"`
	Path     string    `json:"path"`
	Machine  string    `json:"machine"`
	Cores    int       `json:"cores"`
	Memory   int64     `json:"memory_bytes"`
	GPUCores int       `json:"gpu_cores,omitempty"`
	LlamaCpp string    `json:"llama_cpp"`
	Smoke    any       `json:"smoke,omitempty"`
	Bench    any       `json:"bench,omitempty"`

	Expected float64          `json:"expected_generation,omitempty"` // tokens a second that the shipped constants predict
	Tuned    *recommend.Knobs `json:"tuned,omitempty"`               // what tune found to be best
}

// NewRecord makes the record of an artifact.
func NewRecord(s *job.State, a *job.Artifact) Record {
	now := time.Now().UTC()
	r := Record{Version: RecordVersion, When: now.Truncate(time.Second), ID: fmt.Sprintf("%x", now.UnixNano()), Model: s.Model, Type: a.Type,
		Bytes: a.Bytes, Path: a.Path, LlamaCpp: llamacpp.Version, Smoke: a.Smoke, Bench: a.Bench}
	if s.Source != nil {
		r.Commit = s.Source.Commit
	}
	if len(a.SHA256) > 0 {
		r.SHA256 = a.SHA256[0]
	}
	if s.Advice != nil {
		r.Expected = s.Advice.Shipped
	}
	if m := s.Machine; m != nil {
		r.Machine, r.Cores, r.Memory, r.GPUCores = m.Chip, m.Cores, m.Memory, m.GPUCores
	}
	return r
}

// Path is the record file of this user.
func Path() string { return filepath.Join(llamacpp.DataDir(), "records.jsonl") }

// Append adds a record. Writers take turns by a lock; a line that a kill cut short is ended first, so that it spoils no other.
func Append(r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := Path()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	lock := flock.New(path + ".lock")
	if err := lock.Lock(); err != nil {
		return err
	}
	defer lock.Unlock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, fi.Size()-1); err == nil && last[0] != '\n' {
			b = append([]byte{'\n'}, b...)
		}
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// maxRecordLine bounds a line; a longer one is not ours.
const maxRecordLine = 16 << 20

// List reads all records, oldest first. Lines that cannot be read are counted, not fatal.
func List() (records []Record, damaged int, err error) {
	f, err := os.Open(Path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, maxRecordLine)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if line == "" {
			continue
		}
		var r Record
		if json.Unmarshal([]byte(line), &r) != nil || r.Version < 1 || r.Version > RecordVersion {
			damaged++
			continue
		}
		records = append(records, r)
	}
	return records, damaged, sc.Err()
}
