package conformance

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// written are files that the reference wrote; each equals its answer, and the case's tolerance is used where it has one.
var written = []struct{ file, dir, run string }{
	{"lora-llama.q8_0.gguf", "lora/lora-llama", "q8_0"},
	{"lora-base-layer.f32.gguf", "lora/lora-base-layer", "f32"},
	{"meta-chat-long.vocab.gguf", "convert/meta-chat-long", "vocab"},
	{"meta-chat-named-four.vocab.gguf", "convert/meta-chat-named-four", "vocab"}, // written in another order than the recorded answer
}

func load(t *testing.T, tree fs.FS, file, dir, run string) ([]byte, *Case, *Answer) {
	t.Helper()
	data, err := fs.ReadFile(tree, "written/"+file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCase(tree, dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Answer(run)
	if err != nil {
		t.Fatal(err)
	}
	return data, c, a
}

func TestReferenceFilesPass(t *testing.T) {
	tree := tree(t)
	for _, w := range written {
		data, c, a := load(t, tree, w.file, w.dir, w.run)
		if err := a.Check(bytes.NewReader(data), int64(len(data)), c.Tolerance); err != nil {
			t.Errorf("%s: %v", w.file, err)
		}
		got, err := Written("", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		got.SHA256 = "" // entry by entry, not by the whole's digest
		if err := Compare(a.Parts[0], got, c.Tolerance); err != nil {
			t.Errorf("%s: entry by entry: %v", w.file, err)
		}
	}
}

func TestUnorderedNeedsTheTolerance(t *testing.T) {
	data, _, a := load(t, tree(t), "meta-chat-named-four.vocab.gguf", "convert/meta-chat-named-four", "vocab")
	var d *Difference
	if err := a.Check(bytes.NewReader(data), int64(len(data)), Tolerance{}); !errors.As(err, &d) {
		t.Fatalf("another order passed: %v", err)
	} else if !strings.Contains(d.At, "tokenizer.chat_template") {
		t.Errorf("the difference is at %s", d.At)
	}
}

// Every byte of a file counts: whichever is flipped, the comparison names a place.
func TestEveryFlippedByteIsFound(t *testing.T) {
	for _, w := range written[:1] {
		data, c, a := load(t, tree(t), w.file, w.dir, w.run)
		for i := range data {
			data[i] ^= 0x10
			if err := a.Check(bytes.NewReader(data), int64(len(data)), c.Tolerance); err == nil {
				t.Fatalf("%s: byte %d flipped, and no difference", w.file, i)
			}
			data[i] ^= 0x10
		}
	}
}

func TestCompareNames(t *testing.T) {
	data, _, a := load(t, tree(t), "lora-llama.q8_0.gguf", "lora/lora-llama", "q8_0")
	for _, test := range []struct {
		change func(f *File)
		want   string
	}{
		{func(f *File) { f.Metadata[2].Value = `"x"` }, "metadata 2, " + a.Parts[0].Metadata[2].Key + ": want"},
		{func(f *File) { f.Metadata = f.Metadata[:3] }, "got nothing more"},
		{func(f *File) { f.Metadata[0], f.Metadata[1] = f.Metadata[1], f.Metadata[0] }, "(the other has it as number 1)"},
		{func(f *File) { f.Metadata = append(f.Metadata, Entry{"x", "u8", "1"}) }, "want nothing more, got x u8 1"},
		{func(f *File) { f.Tensors[3].Type = "I8" }, "tensor 3, " + a.Parts[0].Tensors[3].Name + ": type: want"},
		{func(f *File) { f.Tensors[1].Shape[0]++ }, ": shape: want"},
		{func(f *File) { f.Tensors[1].SHA256 = "00" }, ": sha256: want"},
		{func(f *File) { f.Tensors = f.Tensors[:11] }, "got nothing more"},
		{func(f *File) { f.Size++ }, "size: want 5536, got 5537"},
	} {
		got, err := Written("", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		got.SHA256 = ""
		test.change(got)
		if err := Compare(a.Parts[0], got, Tolerance{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want a difference with %q, got %v", test.want, err)
		}
	}
}

func TestParts(t *testing.T) {
	tree := tree(t)
	a, b := written[0], written[1]
	dataA, _, ansA := load(t, tree, a.file, a.dir, a.run)
	dataB, _, ansB := load(t, tree, b.file, b.dir, b.run)
	both := &Answer{Parts: []*File{ansA.Parts[0], ansB.Parts[0]}}
	both.Parts[0].Name, both.Parts[1].Name = "1.gguf", "2.gguf"
	folder := fstest.MapFS{"1.gguf": {Data: dataA}, "2.gguf": {Data: dataB}, "README": {}}
	if err := both.CheckParts(folder, Tolerance{}); err != nil {
		t.Error(err)
	}
	folder["2.gguf"] = folder["1.gguf"]
	if err := both.CheckParts(folder, Tolerance{}); err == nil || !strings.HasPrefix(err.Error(), "2.gguf: ") {
		t.Errorf("the second part is wrong, got %v", err)
	}
	delete(folder, "2.gguf")
	if err := both.CheckParts(folder, Tolerance{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the second part is missing, got %v", err)
	}
}

// A key whose text quern does not carry may be there or not, and so may its name in the list of names.
func TestWithout(t *testing.T) {
	list := Entry{"tokenizer.chat_templates", "arr:str", `["rerank"]`}
	named := Entry{"tokenizer.chat_template.rerank", "str", `"text of the reference"`}
	own := Entry{"tokenizer.chat_template", "str", `"{{ x }}"`}
	want := &File{Version: 3, SHA256: "a", Metadata: []Entry{named, list, own}}
	tolerance := Tolerance{Without: []string{named.Key}}
	for _, test := range []struct {
		got  []Entry
		same bool
	}{
		{[]Entry{own}, true},
		{[]Entry{named, list, own}, true},
		{[]Entry{named, list}, false},
		{[]Entry{list, {own.Key, own.Type, `"{{ y }}"`}}, false},
		{[]Entry{{list.Key, list.Type, `["rerank","other"]`}, own}, false},
	} {
		if err := Compare(want, &File{Version: 3, SHA256: "b", Metadata: test.got}, tolerance); (err == nil) != test.same {
			t.Errorf("%v: %v", test.got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	refused := &Answer{Fails: "NotImplementedError: awq"}
	if refused.CheckFailure(nil) == nil || refused.CheckFailure(errors.New("awq")) != nil {
		t.Error("a refusal passes only where quern refuses")
	}
	if err := refused.Check(bytes.NewReader(nil), 0, Tolerance{}); err == nil {
		t.Error("a file passed where the reference wrote none")
	}
	if wrote := (&Answer{Parts: []*File{{}}}); wrote.CheckFailure(nil) != nil || wrote.CheckFailure(errors.New("x")) == nil {
		t.Error("an error passed where the reference wrote a file")
	}
}

func FuzzWritten(f *testing.F) {
	tree, err := OpenBundle("testdata/cases.tar.zst")
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range written {
		data, err := fs.ReadFile(tree, "written/"+w.file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte("GGUF\x03\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := Written("", bytes.NewReader(data), int64(len(data))); err == nil && got.Size != int64(len(data)) {
			t.Errorf("size %d of %d bytes", got.Size, len(data))
		}
	})
}
