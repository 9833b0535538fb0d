package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/job"
	"quern/stages/quality"
	"quern/stages/smoke"
	"quern/stages/source"

	"github.com/gofrs/flock"
)

// RecordVersion is the form of records.
const RecordVersion = 1

// Record is one line of the record file: a file on a machine, and what was measured. Its schema is record.schema.json.
type Record struct {
	Version  int       `json:"record_version"`
	When     time.Time `json:"when"`
	ID       string    `json:"id"` // short, unique among this user's records
	Command  string    `json:"command,omitempty"`
	Model    string    `json:"model"`
	Commit   string    `json:"commit,omitempty"`
	License  string    `json:"license,omitempty"`
	Arch     string    `json:"architecture,omitempty"`
	Type     string    `json:"file_type"`
	Bytes    int64     `json:"bytes"`
	BPW      float64   `json:"bits_per_weight,omitempty"`
	SHA256   string    `json:"sha256,omitempty"`
	Path     string    `json:"path"`
	Machine  string    `json:"machine"`
	Cores    int       `json:"cores"`
	Memory   int64     `json:"memory_bytes"`
	GPUCores int       `json:"gpu_cores,omitempty"`
	LlamaCpp string    `json:"llama_cpp"`

	Smoke   *smoke.Report   `json:"smoke,omitempty"`
	Bench   *bench.Report   `json:"bench,omitempty"` // without tests that a busy machine spoiled
	Quality *quality.Result `json:"quality,omitempty"`
	Needs   []Need          `json:"needs,omitempty"` // planned memory by context

	Chosen   bool             `json:"chosen,omitempty"`              // this type was recommended for the machine
	Run      string           `json:"run,omitempty"`                 // how to serve the file
	Expected float64          `json:"expected_generation,omitempty"` // tokens a second that the shipped constants predict
	Tuned    *recommend.Knobs `json:"tuned,omitempty"`               // what tune found to be best
}

// Need is the memory that a file takes at a context, in bytes.
type Need struct {
	Context int64 `json:"context"`
	recommend.Memory
}

// New is a record of this moment on a machine, to be filled.
func New(m *machine.Machine) Record {
	now := time.Now().UTC()
	r := Record{Version: RecordVersion, When: now.Truncate(time.Second), ID: newID(now), LlamaCpp: llamacpp.Version}
	if m != nil {
		r.Machine, r.Cores, r.Memory, r.GPUCores = m.Chip, m.Cores, m.Memory, m.GPUCores
	}
	return r
}

// newID is the time to the microsecond and a part of the process id, in base 36: writing a record takes longer than that.
func newID(now time.Time) string {
	return strconv.FormatInt(now.UnixMicro(), 36) + strconv.FormatInt(int64(os.Getpid()%1296), 36)
}

// NewRecord makes the record of an artifact.
func NewRecord(s *job.State, a *job.Artifact) Record {
	r := New(s.Machine)
	r.Command, r.Model, r.Type, r.Bytes, r.BPW, r.Path = "prepare", nameOf(s), a.Type, a.Bytes, a.BitsPerWeight(), a.Path
	r.Chosen = s.Chosen != "" && s.Chosen == a.Type
	if s.Make != job.Recommended {
		r.Command = string(s.Make)
	}
	if s.Source != nil {
		r.Commit = s.Source.Commit
	}
	if len(a.SHA256) > 0 {
		r.SHA256 = a.SHA256[0]
	}
	if len(a.Plans) > 0 {
		r.Arch = a.Plans[0].Architecture()
	}
	if a.Model != nil {
		r.License = a.Model.Card.License
	}
	r.Smoke, _ = a.Smoke.(*smoke.Report)
	r.Quality, _ = a.Quality.(*quality.Result)
	if b, ok := a.Bench.(*bench.Report); ok {
		r.Bench = b.Quiet()
	}
	if s.Advice != nil {
		r.Expected, r.Run, r.Needs = s.Advice.Shipped, HowToRun(s, a), Needs(s, a.Bytes)
	}
	return r
}

// nameOf is the name under which measurements of a model are kept: the repository, the name that a GGUF source gives itself, or
// the argument.
func nameOf(s *job.State) string {
	switch {
	case s.Source == nil:
		return s.Model
	case s.Source.Repo != "":
		return s.Source.Repo
	case s.Source.Kind == source.GGUF && len(s.Parts) > 0:
		if n, ok := s.Parts[0].String("general.name"); ok && n != "" {
			return n
		}
	}
	return s.Model
}

// From takes over what a receipt knows of the file.
func (r *Record) From(rec *Receipt) {
	r.Commit, r.License = rec.Source.Commit, rec.License
	switch {
	case rec.Source.Repo != "":
		r.Model = rec.Source.Repo
	case rec.Source.Kind != source.GGUF: // such a file was named by its own metadata already
		r.Model = rec.Source.Model
	}
	if rec.Type != "" {
		r.Type = rec.Type
	}
	if len(rec.Outputs) > 0 {
		r.SHA256 = strings.TrimPrefix(rec.Outputs[0].Digest, "sha256:")
	}
}

// Subject is what the record's measurements are about.
func (r *Record) Subject() bench.Subject {
	return bench.Subject{Model: r.Model, Type: r.Type, Machine: r.Machine, Runtime: r.LlamaCpp}
}

// Needs is the memory at contexts from 2048 to the model's limit, doubling, under the chosen setting.
func Needs(s *job.State, weights int64) []Need {
	if s.Shape == nil {
		return nil
	}
	const first, last = 2048, 1 << 17
	limit := s.Shape.ContextLimit
	if limit <= 0 || limit > last {
		limit = last
	}
	var ns []Need
	for ctx := min(first, limit); ; ctx = min(2*ctx, limit) {
		set := s.Advice.Setting
		set.Context = ctx
		ns = append(ns, Need{ctx, s.Shape.Needs(weights, set)})
		if ctx >= limit {
			return ns
		}
	}
}

// Record makes the record of a file from its receipt, for those who have the file and not this user's records.
func (r *Receipt) Record() Record {
	rec := New(r.Machine)
	rec.When, rec.LlamaCpp, rec.Arch, rec.BPW = r.Made, r.LlamaCpp, r.Arch, r.BPW
	rec.From(r)
	rec.ID = rec.SHA256[:min(len(rec.SHA256), 12)]
	for i, o := range r.Outputs {
		rec.Bytes += o.Size
		if i == 0 {
			rec.Path = o.Name
		}
	}
	rec.Smoke, rec.Quality = r.Smoke, r.Quality
	if r.Bench != nil {
		rec.Bench = r.Bench.Quiet()
	}
	return rec
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
		line := bytes.TrimSpace(sc.Bytes())
		if len(line) == 0 {
			continue
		}
		var r Record
		if json.Unmarshal(line, &r) != nil || r.Version < 1 || r.Version > RecordVersion {
			damaged++
			continue
		}
		records = append(records, r)
	}
	return records, damaged, sc.Err()
}
