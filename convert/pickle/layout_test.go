package pickle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// layout is a ZIP archive written field by field, so that each can lie.
type layout struct {
	local, central []entry
	end            map[string]uint64 // fields of the end record that are not what they should be
	zip64          bool              // with the end record of 64 bits
	tail           string            // a comment behind the end record
}

// entry is an archive's entry, in its local header or in the directory.
type entry struct {
	name         string
	data         string // of a local header
	at           uint64 // of a directory entry: where the local header stands; above 32 bits as ZIP64
	size, packed uint64 // of a directory entry
	method       uint16
	flags        uint16
}

// sound is torch's archive of one tensor of four elements.
func sound() *layout {
	pickle := dictTop + text("w") + rebuilt(4, 0, numbers(4), numbers(1)) + setEnd
	l := &layout{end: map[string]uint64{}}
	for _, e := range [][2]string{{"m/data.pkl", pickle}, {"m/byteorder", "little"}, {"m/data/0", strings.Repeat("x", 16)}} {
		l.local = append(l.local, entry{name: e[0], data: e[1]})
		l.central = append(l.central, entry{name: e[0], size: uint64(len(e[1])), packed: uint64(len(e[1]))})
	}
	at := uint64(0)
	for i, e := range l.local {
		l.central[i].at = at
		at += uint64(30 + len(e.name) + len(e.data))
	}
	return l
}

// bytes writes the archive.
func (l *layout) bytes() []byte {
	var b bytes.Buffer
	put := func(vs ...any) {
		for _, v := range vs {
			binary.Write(&b, binary.LittleEndian, v) //nolint:errcheck // a bytes.Buffer does not fail
		}
	}
	for _, e := range l.local {
		n := uint32(len(e.data))
		put(uint32(0x04034b50), uint16(20), e.flags, e.method, uint32(0), uint32(0), n, n, uint16(len(e.name)), uint16(0), []byte(e.name), []byte(e.data))
	}
	start := uint64(b.Len())
	for _, e := range l.central {
		fits := max(e.size, e.packed, e.at) < 1<<32-1
		size, packed, at, extra := uint32(e.size), uint32(e.packed), uint32(e.at), uint16(0)
		if !fits {
			size, packed, at, extra = 1<<32-1, 1<<32-1, 1<<32-1, 28
		}
		put(uint32(0x02014b50), uint16(45), uint16(45), e.flags, e.method, uint32(0), uint32(0), packed, size,
			uint16(len(e.name)), extra, uint16(0), uint16(0), uint16(0), uint32(0), at, []byte(e.name))
		if !fits {
			put(uint16(1), uint16(24), e.size, e.packed, e.at)
		}
	}
	field := func(name string, v uint64) uint64 {
		if other, ok := l.end[name]; ok {
			return other
		}
		return v
	}
	count, size := field("count", uint64(len(l.central))), field("size", uint64(b.Len())-start)
	start = field("start", start)
	if l.zip64 {
		at := field("zip64", uint64(b.Len()))
		put(uint32(0x06064b50), uint64(44), uint16(45), uint16(45), uint32(0), uint32(0), count, count, size, start)
		put(uint32(0x07064b50), uint32(0), at, uint32(1))
		count, size, start = 1<<16-1, 1<<32-1, 1<<32-1
	}
	put(uint32(0x06054b50), uint16(0), uint16(0), uint16(count), uint16(count), uint32(size), uint32(start), uint16(len(l.tail)), []byte(l.tail))
	return b.Bytes()
}

// The writer of hostile layouts writes sound ones too.
func TestSoundLayouts(t *testing.T) {
	for name, change := range map[string]func(*layout){
		"plain":      func(*layout) {},
		"64 bits":    func(l *layout) { l.zip64 = true },
		"a comment":  func(l *layout) { l.tail = "of someone" },
		"more bytes": func(l *layout) { l.local[2].data += "more"; l.central[2].size += 4; l.central[2].packed += 4 },
	} {
		l := sound()
		change(l)
		if f, err := read(l.bytes()); err != nil || len(f.Tensors) != 1 {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// What a directory claims is refused by name before it costs memory.
func TestHostileLayouts(t *testing.T) {
	cases := map[string]struct {
		change func(*layout)
		want   string
	}{
		"count lies":         {func(l *layout) { l.end["count"] = 60000 }, "ZIP directory"},
		"2^63 entries":       {func(l *layout) { l.zip64 = true; l.end["count"] = 1 << 63 }, "ZIP directory"},
		"directory at 2^63":  {func(l *layout) { l.zip64 = true; l.end["start"] = 1 << 63 }, "ZIP directory"},
		"directory of 2^62":  {func(l *layout) { l.zip64 = true; l.end["size"] = 1 << 62 }, "ZIP directory"},
		"locator beyond":     {func(l *layout) { l.zip64 = true; l.end["zip64"] = 1 << 40 }, "ZIP directory"},
		"no directory":       {func(l *layout) { l.central = nil }, "has no"},
		"a huge directory":   {func(l *layout) { l.central = append(l.central, many(200_000)...) }, "more than 8388608 bytes"},
		"header beyond":      {func(l *layout) { l.central[2].at = 1 << 20 }, "cannot be found"},
		"header at 2^63":     {func(l *layout) { l.central[2].at = 1 << 63 }, "ZIP"},
		"header in the data": {func(l *layout) { l.central[2].at = 31 }, "cannot be found"},
		"data beyond":        {func(l *layout) { l.central[2].size, l.central[2].packed = 1<<20, 1<<20 }, "the file ends at"},
		"data of 2^63":       {func(l *layout) { l.central[2].size, l.central[2].packed = 1<<63, 1<<63 }, "ZIP"},
		"pickle of 5 GB":     {func(l *layout) { l.central[0].size, l.central[0].packed = 5<<30, 5<<30 }, "the file ends at"},
		"pickle twice":       {func(l *layout) { l.central = append(l.central, l.central[0]) }, "twice"},
		"deflated":           {func(l *layout) { l.central[2].method = 8 }, "is compressed"},
		"packed smaller":     {func(l *layout) { l.central[2].packed = 2 }, "is compressed"},
		"encrypted":          {func(l *layout) { l.central[2].flags = 1 }, "is compressed or encrypted"},
		"unknown method":     {func(l *layout) { l.central[2].method = 99 }, "is compressed"},
		"over one another":   {overlapping, "lie over one another"},
	}
	var before, after runtime.MemStats
	for name, c := range cases {
		l := sound()
		c.change(l)
		data := l.bytes()
		runtime.ReadMemStats(&before)
		_, err := read(data)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.bin: ") {
			t.Errorf("%s: %.300v, want %q", name, err, c.want)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > layoutMemory {
			t.Errorf("%s: %d bytes of memory for a file of %d", name, n, len(data))
		}
	}
	t.Logf("%d hostile ZIP layouts refused", len(cases))
}

// layoutMemory is what the largest directory costs.
const layoutMemory = 64 << 20

func many(n int) []entry {
	es := make([]entry, n)
	for i := range es {
		es[i].name = fmt.Sprint("m/data/", i)
	}
	return es
}

// overlapping is an archive in which two storages are the same bytes.
func overlapping(l *layout) {
	second := strings.ReplaceAll(rebuilt(4, 0, numbers(4), numbers(1)), text("0"), text("1"))
	pickle := dictTop + text("w") + rebuilt(4, 0, numbers(4), numbers(1)) + text("v") + second + setEnd
	grown := uint64(len(pickle) - len(l.local[0].data))
	l.local[0].data = pickle
	l.central[0].size, l.central[0].packed = uint64(len(pickle)), uint64(len(pickle))
	l.central[1].at += grown
	l.central[2].at += grown
	again := l.central[2]
	again.name = "m/data/1"
	l.central = append(l.central, again)
}

// FuzzLayout changes fields of a sound archive by pairs of a field's number and a value.
func FuzzLayout(f *testing.F) {
	for _, seed := range []string{"", "\x00\x01\x02", "\x07\x00\x00\x00\x00\x00\x00\x00\x80", "\x10\x08", "\x1f\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		f.Add([]byte(seed), false, "")
	}
	f.Fuzz(func(t *testing.T, changes []byte, wide bool, tail string) {
		l := sound()
		l.zip64, l.tail = wide, tail[:min(len(tail), 1<<16-1)]
		for ; len(changes) >= 9; changes = changes[9:] {
			l.set(changes[0], binary.LittleEndian.Uint64(changes[1:]))
		}
		check(t, l.bytes())
	})
}

// set gives a field a value: of an entry, or of the end record.
func (l *layout) set(field byte, v uint64) {
	e := &l.central[field>>3%3]
	local := &l.local[field>>3%3]
	switch field & 7 {
	case 0:
		e.at = v
	case 1:
		e.size = v
	case 2:
		e.packed = v
	case 3:
		e.size, e.packed = v, v
	case 4:
		e.method, e.flags = uint16(v), uint16(v>>16)
	case 5:
		local.method, local.flags = uint16(v), uint16(v>>16)
	case 6:
		l.end[[]string{"count", "size", "start", "zip64"}[field>>3%4]] = v
	case 7:
		if len(l.central) < 64 {
			l.central = append(l.central, entry{name: l.central[v%3].name, at: v >> 8, size: v >> 16, packed: v >> 16})
		}
	}
}
