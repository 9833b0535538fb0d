package edit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/stages/job"
)

// write makes a file of one tensor with recognisable data.
func write(t *testing.T, name string, meta ...gguf.KV) string {
	t.Helper()
	p, err := gguf.Layout(append([]gguf.KV{{Key: "general.architecture", Value: "llama"}}, meta...), []gguf.Output{{Name: "w", Type: gguf.F32, Shape: []int64{64}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteHeader(&b); err != nil {
		t.Fatal(err)
	}
	for i := range p.FileSize - p.DataOffset {
		b.WriteByte(byte(i))
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b.Bytes(), 0o444); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestApply(t *testing.T) {
	meta := []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "a", Value: "1"}, {Key: "b", Value: "2"}, {Key: "split.no", Value: uint16(0)}}
	for _, c := range []struct {
		name string
		e    Edits
		keys string // in order; empty: refused
	}{
		{"set in place", Edits{Set: []gguf.KV{{Key: "a", Value: "9"}}}, "general.architecture a b split.no"},
		{"set a new one", Edits{Set: []gguf.KV{{Key: "c", Value: "9"}}}, "general.architecture a b split.no c"},
		{"delete", Edits{Delete: []string{"a"}}, "general.architecture b split.no"},
		{"rename keeps its place", Edits{Rename: [][2]string{{"a", "c"}}}, "general.architecture c b split.no"},
		{"rename, then delete by the new name, then set the old one", Edits{Rename: [][2]string{{"a", "c"}}, Delete: []string{"c"}, Set: []gguf.KV{{Key: "a", Value: "3"}}}, "general.architecture b split.no a"},
		{"delete what is not there", Edits{Delete: []string{"x"}}, ""},
		{"rename what is not there", Edits{Rename: [][2]string{{"x", "y"}}}, ""},
		{"rename to what is there", Edits{Rename: [][2]string{{"a", "b"}}}, ""},
		{"no architecture", Edits{Delete: []string{"general.architecture"}}, ""},
		{"the layout's keys", Edits{Set: []gguf.KV{{Key: "split.count", Value: uint16(2)}}}, ""},
		{"a part's number", Edits{Delete: []string{"split.no"}}, ""},
		{"into a part's number", Edits{Rename: [][2]string{{"a", "split.count"}}}, ""},
	} {
		got, err := c.e.Apply(meta)
		var keys []string
		for _, kv := range got {
			keys = append(keys, kv.Key)
		}
		if s := strings.Join(keys, " "); s != c.keys || (err != nil) != (c.keys == "") {
			t.Errorf("%s: %q %v, want %q", c.name, s, err, c.keys)
		}
		var bad *fault.Invalid
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%s: %v is no *fault.Invalid", c.name, err)
		}
	}
	if meta[1].Value != "1" || len(meta) != 4 {
		t.Error("the old metadata was changed")
	}
}

// An edit that fits leaves the data where it is, byte for byte, and the file readable and of its own permissions.
func TestRewrite(t *testing.T) {
	path := write(t, "m.gguf", gguf.KV{Key: "general.name", Value: strings.Repeat("long ", 40)})
	before := content(t, path)
	s := &job.State{}
	s.Model = path
	r, err := Plan(s, Edits{Set: []gguf.KV{{Key: "general.name", Value: "short"}, {Key: "n", Value: []int32{1, 2}}}}, "")
	if err != nil || !r.InPlace {
		t.Fatalf("in place: %v %v", r, err)
	}
	if err := Rewrite(path, &r.Plan); err != nil {
		t.Fatal(err)
	}
	after := content(t, path)
	f, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) || f.DataOffset != r.File.DataOffset || !bytes.Equal(after[f.DataOffset:], before[f.DataOffset:]) {
		t.Errorf("the data moved: %d of %d bytes, was %d of %d", f.DataOffset, len(after), r.File.DataOffset, len(before))
	}
	if name, _ := f.String("general.name"); name != "short" {
		t.Errorf("general.name is %q", name)
	}
	if list, _ := f.Ints("n"); !reflect.DeepEqual(list, []int64{1, 2}) {
		t.Errorf("n is %v", list)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// A crash before any step leaves the old file whole under its name, and the next run is not hindered by what is left.
func TestRewriteFaults(t *testing.T) {
	path := write(t, "m.gguf", gguf.KV{Key: "general.name", Value: "a name"})
	before := content(t, path)
	s := &job.State{}
	s.Model = path
	r, err := Plan(s, Edits{Set: []gguf.KV{{Key: "general.name", Value: "b"}}}, "")
	if err != nil || !r.InPlace {
		t.Fatalf("in place: %v %v", r, err)
	}
	steps := []string{"copy", "header", "sync", "rename"}
	for _, at := range steps {
		func() { // the crash: nothing is tidied up behind it
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the step was not reached", at)
				}
			}()
			_ = rewrite(path, &r.Plan, func(step string) error {
				if step == at {
					keep(t, path)
					panic("crash")
				}
				return nil
			})
		}()
		if !bytes.Equal(content(t, path), before) {
			t.Fatalf("%s: the file changed", at)
		}
		failed := errors.New("no space")
		err := rewrite(path, &r.Plan, func(step string) error {
			if step == at {
				return failed
			}
			return nil
		})
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".m*")); !errors.Is(err, failed) || len(left) > 0 || !bytes.Equal(content(t, path), before) {
			t.Errorf("%s: error %v, left %v", at, err, left)
		}
	}
	if err := Rewrite(path, &r.Plan); err != nil {
		t.Fatal(err)
	}
	if f, err := read(path); err != nil {
		t.Error(err)
	} else if name, _ := f.String("general.name"); name != "b" {
		t.Errorf("general.name is %q", name)
	}
}

// keep demands that the name holds a whole file at this moment.
func keep(t *testing.T, path string) {
	t.Helper()
	if _, err := read(path); err != nil {
		t.Error(err)
	}
}

// A header that does not fit is planned as a new file, and so is an edit into another file.
func TestPlanMoves(t *testing.T) {
	path := write(t, "m.gguf")
	long := Edits{Set: []gguf.KV{{Key: "general.description", Value: strings.Repeat("long ", 100)}}}
	for _, c := range []struct {
		e    Edits
		out  string
		want string
	}{{long, "", path}, {Edits{Set: []gguf.KV{{Key: "b", Value: true}}}, "other.gguf", "other.gguf"}} {
		s := &job.State{}
		s.Model = path
		r, err := Plan(s, c.e, c.out)
		if err != nil || r.InPlace || len(s.Files) != 1 || s.Files[0].Path != c.want {
			t.Errorf("%v: %+v %v", c.e, r, err)
		}
	}
	s := &job.State{}
	if s.Model = write(t, "m-00002-of-00002.gguf"); true {
		if _, err := Plan(s, long, ""); err == nil {
			t.Error("a later part was edited")
		}
	}
}

// Files of the versions before 3 get a header of version 3; their data is not touched.
func TestOldVersions(t *testing.T) {
	for _, version := range []uint32{1, 2} {
		path := filepath.Join(t.TempDir(), "old.gguf")
		if err := os.WriteFile(path, old(version), 0o644); err != nil {
			t.Fatal(err)
		}
		was := content(t, path)
		s := &job.State{}
		s.Model = path
		r, err := Plan(s, Edits{Set: []gguf.KV{{Key: "general.name", Value: "n"}}}, "")
		if err != nil || !r.InPlace {
			t.Fatalf("version %d: %+v %v", version, r, err)
		}
		if err := Rewrite(path, &r.Plan); err != nil {
			t.Fatal(err)
		}
		f, err := read(path)
		if err != nil || f.Version != gguf.Version || !bytes.Equal(content(t, path)[f.DataOffset:], was[r.File.DataOffset:]) {
			t.Errorf("version %d: now %+v, %v", version, f, err)
		}
		if len(r.Notes) == 0 {
			t.Errorf("version %d: nothing is said of it", version)
		}
	}
}

// old is a file of version 1 or 2 with room in its header: counts are 32 bits wide in version 1.
func old(version uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("GGUF"), version)
	count := func(n int) {
		if version == 1 {
			b = le.AppendUint32(b, uint32(n))
		} else {
			b = le.AppendUint64(b, uint64(n))
		}
	}
	text := func(s string) { count(len(s)); b = append(b, s...) }
	count(1) // tensors
	count(2) // keys
	for _, kv := range [][2]string{{"general.architecture", "llama"}, {"general.name", strings.Repeat("n", 200)}} {
		text(kv[0])
		b = le.AppendUint32(b, uint32(gguf.String))
		text(kv[1])
	}
	text("w")
	b = le.AppendUint32(b, 1)
	count(64) // as wide as other counts
	b = le.AppendUint32(b, uint32(gguf.F32))
	b = le.AppendUint64(b, 0)
	for len(b)%32 != 0 {
		b = append(b, 0)
	}
	for i := range 256 {
		b = append(b, byte(i))
	}
	return b
}

func TestParseSet(t *testing.T) {
	for in, want := range map[string]any{
		"k=u32:7": uint32(7), "k=i8:-128": int8(-128), "k=u64:18446744073709551615": uint64(18446744073709551615), "k=f32:1e-5": float32(1e-5),
		"k=bool:true": true, "k=str:a:b=c, d": "a:b=c, d", "k=str:": "", "k=i32[]:[1, -2]": []int32{1, -2}, `k=str[]:["a,b", ""]`: []string{"a,b", ""},
		"k=u64[]:[18446744073709551615]": []uint64{18446744073709551615}, "k=f64:NaN": nil, "k=bool[]:[true, false]": []bool{true, false},
	} {
		kv, err := ParseSet(in)
		if err != nil || want != nil && !reflect.DeepEqual(kv.Value, want) || kv.Key != "k" {
			t.Errorf("%s: %#v %v, want %#v", in, kv.Value, err, want)
		}
	}
	for _, in := range []string{"", "k", "k=7", "=u32:7", "k=u32:-1", "k=u8:256", "k=int:1", "k=u32:", "k=bool:yes", "k=i32[]:1", "k=i32[]:[1.5]", "k=i32[]:[\"1\"]", "k=str[]:[1]", "k=u8[]:[1] x", "k=u8[][]:[[1]]"} {
		if kv, err := ParseSet(in); err == nil {
			t.Errorf("%q: %#v", in, kv)
		}
	}
}

func FuzzParseSet(f *testing.F) {
	for _, s := range []string{"k=u32:7", `k=str[]:["a"]`, "k=i64[]:[9223372036854775808]", "k=f32:1e999", "=:", "k=u8[]:[" + strings.Repeat("[", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kv, err := ParseSet(s)
		if err != nil {
			return
		}
		if _, err := gguf.Layout([]gguf.KV{kv}, nil, 0); err != nil && kv.Key != gguf.AlignmentKey {
			t.Errorf("%q gives %#v, which no file holds: %v", s, kv, err)
		}
	})
}
