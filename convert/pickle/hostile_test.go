package pickle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"quern/convert/fault"
)

// Pieces of pickles, as pickletools would show them.
const (
	stop    = "."
	dictTop = "\x80\x02}(" // PROTO 2, EMPTY_DICT, MARK: keys and values follow
	setEnd  = "u."         // SETITEMS, STOP
)

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func number(n int64) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func numbers(ns ...int64) string {
	s := "("
	for _, n := range ns {
		s += number(n)
	}
	return s + "t"
}

// store is a reference to a storage of F32 with key "0".
func store(numel int64) string {
	return "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(numel) + "tQ"
}

// rebuilt is a tensor of store.
func rebuilt(numel, offset int64, shape, strides string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + store(numel) + number(offset) + shape + strides + "\x89ccollections\nOrderedDict\n)RtR"
}

// archived is the ZIP archive of torch around a pickle and a storage "0" of n bytes.
func archived(pickle string, n int, change func(*zip.FileHeader)) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range map[string][]byte{"m/data.pkl": []byte(pickle), "m/data/0": make([]byte, n), "m/byteorder": []byte("little")} {
		h := &zip.FileHeader{Name: name, Method: zip.Store}
		if change != nil {
			change(h)
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			panic(err) // a bytes.Buffer does not fail
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// again is an archive that lists an entry twice, of which another reader might take the other.
func again(name string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range [][2]string{{"m/data.pkl", dictTop + text("w") + rebuilt(4, 0, numbers(4), numbers(1)) + setEnd}, {"m/data/0", string(make([]byte, 16))}, {name, "other"}} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: e[0], Method: zip.Store})
		if err == nil {
			_, err = w.Write([]byte(e[1]))
		}
		if err != nil {
			panic(err) // a bytes.Buffer does not fail
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// lying is an archive whose directory claims another size for the storage.
func lying(n uint64) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range map[string][]byte{"m/data.pkl": []byte(dictTop + text("w") + rebuilt(int64(n)/4, 0, numbers(int64(n)/4), numbers(1)) + setEnd), "m/data/0": make([]byte, 16)} {
		h := &zip.FileHeader{Name: name, Method: zip.Store, UncompressedSize64: uint64(len(data)), CompressedSize64: uint64(len(data))}
		if name == "m/data/0" {
			h.UncompressedSize64, h.CompressedSize64 = n, n
		}
		w, err := z.CreateRaw(h)
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// one is a file with one tensor.
func one(tensor string, n int) []byte { return archived(dictTop+text("w")+tensor+setEnd, n, nil) }

var hostile = map[string]struct {
	file []byte
	want string
}{
	// Code.
	"os.system":        {archived("\x80\x02cposix\nsystem\n"+text("id")+"\x85R.", 0, nil), `it asks for "posix.system"`},
	"eval":             {archived("\x80\x02c__builtin__\neval\n.", 0, nil), `it asks for "__builtin__.eval"`},
	"stack global":     {archived("\x80\x04\x8c\x02os\x8c\x06system\x93.", 0, nil), `it asks for "os.system"`},
	"nested name":      {archived("\x80\x04\x8c\x05torch\x8c\x0dstorage.sys.x\x93.", 0, nil), `it asks for "torch.storage.sys.x"`},
	"torch.load":       {archived("\x80\x02ctorch\nload\n.", 0, nil), `it asks for "torch.load"`},
	"inst":             {archived("\x80\x02(ios\nsystem\n.", 0, nil), "opcode INST"},
	"obj":              {archived("\x80\x02(cos\nsystem\no.", 0, nil), `it asks for "os.system"`},
	"object":           {archived("\x80\x02(o.", 0, nil), "opcode OBJ"},
	"extension":        {archived("\x80\x02\x82\x01.", 0, nil), "opcode EXT1"},
	"newobj_ex":        {archived("\x80\x02\x92.", 0, nil), "opcode NEWOBJ_EX"},
	"call a storage":   {archived("\x80\x02ctorch\nFloatStorage\n)R.", 0, nil), "a call of torch.FloatStorage"},
	"call a dict":      {archived("\x80\x02})R.", 0, nil), "a call of a dictionary"},
	"build a global":   {archived("\x80\x02ccollections\nOrderedDict\n}b.", 0, nil), "attributes are set on collections.OrderedDict"},
	"from type itself": {archived("\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nctorch\nTensor\n)NtR.", 0, nil), "other kinds than it takes"},
	"unknown opcode":   {archived("\x80\x02\xff.", 0, nil), "opcode 0xff"},
	// Machine.
	"protocol":        {archived("\x80\x06.", 0, nil), "protocol 6"},
	"empty stack":     {archived("\x80\x02.", 0, nil), "the stack is empty"},
	"no stop":         {archived("\x80\x02}", 0, nil), "it ends inside"},
	"no mark":         {archived("\x80\x02}u.", 0, nil), "no mark"},
	"memo":            {archived("\x80\x02h\x05.", 0, nil), "memo 5"},
	"memo of a mark":  {archived("\x80\x02(q\x00.", 0, nil), "a mark is put"},
	"memo far":        {archived("\x80\x02Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.", 0, nil), "it holds nothing"},
	"memo bomb":       {archived("\x80\x02]q\x00"+laughs(200), 0, nil), "it holds a list"},
	"memo of many":    {archived("\x80\x02N"+strings.Repeat("\x94", MaxObjects)+".", 0, nil), "more than 4194304 objects"},
	"nested tuples":   {archived("\x80\x02)"+strings.Repeat("\x85", 200000)+".", 0, nil), "it holds a tuple"},
	"list in itself":  {archived("\x80\x02]q\x00h\x00a.", 0, nil), "it holds a list"},
	"odd items":       {archived("\x80\x02}(Nu.", 0, nil), "items are added to a dictionary"},
	"items to none":   {archived("\x80\x02NNa.", 0, nil), "items are added to nothing"},
	"text too long":   {archived("\x80\x02X\xff\xff\xff\x7f.", 0, nil), "a pickle has at most"},
	"text cut":        {archived("\x80\x02X\xff\xff\xff\x00.", 0, nil), "it ends inside"},
	"text 2^64":       {archived("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", 0, nil), "a pickle has at most"},
	"long":            {archived("\x80\x02\x8a\xff"+strings.Repeat("\xff", 255)+".", 0, nil), "an integer of 255 bytes"},
	"endless line":    {archived("\x80\x02c"+strings.Repeat("a", 5000), 0, nil), "a line of more than"},
	"number text":     {archived("\x80\x02Iten\n.", 0, nil), "is not an integer"},
	"too many":        {archived("\x80\x02"+strings.Repeat("N", MaxObjects+1)+".", 0, nil), "more than 4194304 objects"},
	"list copied":     {archived("\x80\x02]("+strings.Repeat("NN\x86", 5000)+"eq\x00"+strings.Repeat("ccollections\nOrderedDict\nh\x00\x85R", 1000)+".", 0, nil), "more than 4194304 objects"},
	"dict of numbers": {archived("\x80\x02ccollections\nOrderedDict\n](K\x01e\x85R.", 0, nil), "that holds an integer"},
	// Tensors.
	"beyond":            {one(rebuilt(4, 0, numbers(5), numbers(1)), 16), "last element 4 lies outside of a storage of 4"},
	"offset beyond":     {one(rebuilt(4, 4, numbers(1), numbers(1)), 16), "lies outside"},
	"stride beyond":     {one(rebuilt(4, 0, numbers(2, 2), numbers(3, 1)), 16), "lies outside"},
	"stride overflow":   {one(rebuilt(4, 0, numbers(3, 1), numbers(1<<62, 1)), 16), "beyond 2^63"},
	"shape overflow":    {one(rebuilt(4, 0, numbers(1<<40, 1<<40), numbers(0, 0)), 16), "more than 2^59"},
	"expanded":          {one(rebuilt(4, 0, numbers(1<<40), numbers(0)), 16), "lie over one another"},
	"overlapping rows":  {one(rebuilt(4, 0, numbers(3, 2), numbers(1, 1)), 16), "lie over one another"},
	"bomb of rows":      {one(rebuilt(1<<20, 0, numbers(1<<19, 1<<19), numbers(1, 1)), 1<<22), "lie over one another"},
	"offset negative":   {one(rebuilt(4, -1, numbers(1), numbers(1)), 16), "natural numbers"},
	"shape negative":    {one(rebuilt(4, 0, numbers(-1), numbers(1)), 16), "natural numbers"},
	"stride negative":   {one(rebuilt(4, 3, numbers(2), numbers(-1)), 16), "natural numbers"},
	"ranks":             {one(rebuilt(4, 0, numbers(1, 1), numbers(1)), 16), "natural numbers"},
	"dimensions":        {one(rebuilt(4, 0, numbers(make([]int64, 33)...), numbers(make([]int64, 33)...)), 16), "32 dimensions"},
	"storage short":     {one(rebuilt(4, 0, numbers(4), numbers(1)), 15), `storage "0" has 15 bytes, its 4 elements of F32 take 16`},
	"storage huge":      {one(rebuilt(1<<60, 0, numbers(4), numbers(1)), 16), "a storage of"},
	"storage two sizes": {archived(dictTop+text("a")+rebuilt(4, 0, numbers(4), numbers(1))+text("b")+rebuilt(3, 0, numbers(3), numbers(1))+setEnd, 16, nil), "4 of F32 before"},
	"storage missing":   {one(strings.ReplaceAll(rebuilt(4, 0, numbers(4), numbers(1)), text("0"), text("7")), 16), `has no "m/data/7"`},
	"storage elsewhere": {one(strings.ReplaceAll(rebuilt(4, 0, numbers(4), numbers(1)), text("0"), text("../data.pkl")), 16), `has no "m/data/../data.pkl"`},
	"no storage":        {one("ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR", 16), "nothing instead of a storage"},
	"reference":         {one("NQ", 16), "a reference to outside"},
	"quantized":         {one(strings.ReplaceAll(rebuilt(4, 0, numbers(4), numbers(1)), "FloatStorage", "QInt8Storage"), 16), `it asks for "torch.QInt8Storage"`},
	"untyped":           {one(strings.ReplaceAll(rebuilt(16, 0, numbers(4), numbers(1)), "FloatStorage", "UntypedStorage"), 16), "without an element type"},
	"name twice":        {archived(dictTop+text("w")+rebuilt(4, 0, numbers(4), numbers(1))+text("w")+rebuilt(4, 0, numbers(4), numbers(1))+setEnd, 16, nil), `"w" twice`},
	"key a number":      {archived(dictTop+"K\x01N"+setEnd, 0, nil), "an integer, not a text"},
	// Archives.
	"names twice":     {again("m/data.pkl"), "twice"},
	"storage twice":   {again("m/data/0"), "twice"},
	"size lies":       {lying(1 << 40), "ZIP"},
	"compressed":      {archived(dictTop+setEnd, 0, func(h *zip.FileHeader) { h.Method = zip.Deflate }), "is compressed"},
	"big-endian":      {bytes.ReplaceAll(archived(dictTop+setEnd, 0, nil), []byte("little"), []byte("big!!!")), "its byte order"},
	"no pickle":       {bytes.ReplaceAll(archived(dictTop+setEnd, 0, nil), []byte("data.pkl"), []byte("data.xyz")), `has no "/data.pkl"`},
	"cut archive":     {archived(dictTop+setEnd, 0, nil)[:100], "ZIP directory"},
	"empty":           {nil, "neither a ZIP archive nor a pickle"},
	"text":            {[]byte("version https://git-lfs.github.com/spec/v1"), "neither a ZIP archive nor a pickle"},
	"plain pickle":    {[]byte("\x80\x02}."), "not the mark of a PyTorch file"},
	"legacy protocol": {[]byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02K\x01.\x80\x02}.\x80\x02}.\x80\x02]."), "instead of 1001"},
	"legacy endian":   {[]byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}" + text("little_endian") + "\x89s.\x80\x02}.\x80\x02]."), "big-endian"},
	"legacy key":      {[]byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02}.\x80\x02]" + text("5") + "a."), `lists a storage by the text "5"`},
	"legacy numel":    {legacy("\x05\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 16)), "has 5 elements in the data, 4 in the pickle"},
	"legacy cut":      {legacy("\x04\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 15)), "the file ends at"},
	"legacy no data":  {legacy("\x04"), "it ends before storage"},
}

// legacy is a file of the old layout with one tensor of four elements and this data.
func legacy(data string) []byte {
	return []byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}" + text("little_endian") + "\x88s." +
		dictTop + text("w") + rebuilt(4, 0, numbers(4), numbers(1)) + setEnd + "\x80\x02]" + text("0") + "a." + data)
}

// laughs are lists of ten times the list before each, which a reader that copies would make 10^n of.
func laughs(n int) string {
	return strings.Repeat("0]("+strings.Repeat("h\x00", 10)+"eq\x00", n) + "."
}

func read(data []byte) (*File, error) { return Read("x.bin", bytes.NewReader(data), int64(len(data))) }

// hostileMemory is what MaxObjects objects cost, all in the memo and on the way there.
const hostileMemory = 512 << 20

func TestHostileFiles(t *testing.T) {
	var before, after runtime.MemStats
	for name, c := range hostile {
		runtime.ReadMemStats(&before)
		_, err := read(c.file)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > hostileMemory {
			t.Errorf("%s: %d bytes of memory for a file of %d", name, n, len(c.file))
		}
		var bad *fault.Invalid
		var no *fault.Unsupported
		if !errors.As(err, &bad) && !errors.As(err, &no) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.bin: ") {
			t.Errorf("%s: %.300v, want %q", name, err, c.want)
		}
	}
	t.Logf("%d refused hostile PyTorch files, nothing executed", len(hostile))
}

// The builders of the hostile files make sound files too.
func TestSoundFiles(t *testing.T) {
	for name, data := range map[string][]byte{
		"zip":    one(rebuilt(4, 0, numbers(2, 2), numbers(2, 1)), 16),
		"legacy": legacy("\x04\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 16)),
	} {
		if f, err := read(data); err != nil || len(f.Tensors) != 1 || f.Tensors[0].Elements() != 4 {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// Deep nesting neither recurses nor grows beyond the bound, and claimed lengths cost nothing.
func TestMemoryIsBounded(t *testing.T) {
	deep := archived("\x80\x02"+strings.Repeat("]", 200000)+strings.Repeat("a", 199999)+".", 0, nil)
	if _, err := read(deep); err == nil || !strings.Contains(err.Error(), "it holds a list") {
		t.Errorf("deep: %.200v", err)
	}
	claims := archived("\x80\x02X\xff\xff\xff\x03abc", 0, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := read(claims); err == nil {
		t.Error("a claimed text was read")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes for a file of %d", n, len(claims))
	}
}

func TestOpen(t *testing.T) {
	tensor := func(names ...string) []byte {
		p := dictTop
		for _, n := range names {
			p += text(n) + rebuilt(4, 0, numbers(4), numbers(1))
		}
		return archived(p+setEnd, 16, nil)
	}
	for name, c := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"parts":         {map[string][]byte{"pytorch_model-2.bin": tensor("z", "a"), "pytorch_model-1.bin": tensor("m"), "training_args.bin": {1}}, "m z a"},
		"index":         {map[string][]byte{index: []byte(`{"weight_map":{"z":"q2","a":"q2","m":"q1"}}`), "q2": tensor("z", "a"), "q1": tensor("m"), "pytorch_model.bin": {1}}, "m z a"},
		"missing":       {map[string][]byte{index: []byte(`{"weight_map":{"z":"q2","m":"q2"}}`), "q2": tensor("z")}, `error: q2: pytorch_model.bin.index.json promises tensor "m"`},
		"extra":         {map[string][]byte{index: []byte(`{"weight_map":{"z":"q2"}}`), "q2": tensor("z", "m")}, `error: q2: pytorch_model.bin.index.json does not list tensor "m"`},
		"twice":         {map[string][]byte{"pytorch_model-2.bin": tensor("a"), "pytorch_model-1.bin": tensor("a")}, `error: pytorch_model-2.bin: tensor "a" also stands in pytorch_model-1.bin`},
		"part missing":  {map[string][]byte{index: []byte(`{"weight_map":{"z":"q2"}}`)}, "error: open q2"},
		"damaged index": {map[string][]byte{index: []byte(`{`)}, "error: pytorch_model.bin.index.json"},
		"nothing":       {map[string][]byte{"model.safetensors": {1}}, "error: open pytorch_model*.bin"},
	} {
		dir := t.TempDir()
		for file, data := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		ck, err := Open(os.DirFS(dir))
		if err != nil {
			got = "error: " + err.Error()
			if name == "nothing" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		} else {
			var names []string
			for _, x := range ck.Tensors() {
				names = append(names, x.Name)
			}
			got = strings.Join(names, " ")
			if err := ck.Close(); err != nil {
				t.Error(err)
			}
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
