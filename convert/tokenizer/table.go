package tokenizer

import (
	"hash/maphash"
	"unsafe"
)

// table maps token texts to ids. The texts lie one after another in one allocation; a Go map of as many strings costs
// twice the time to fill, and filling it is most of what loading a tokenizer costs.
type table struct {
	seed  maphash.Seed
	arena []byte
	ends  []uint32 // by entry: where its text ends in arena; entry 0 is empty and unused
	ids   []int32  // by entry
	slots []slot   // the length is a power of two, at most three quarters used
}

// slot points to an entry, 0 = free, and keeps part of its hash: most comparisons end there.
type slot struct{ entry, hash uint32 }

// newTable makes an empty table with room for entries.
func newTable(entries int) *table {
	t := &table{seed: maphash.MakeSeed(), ends: make([]uint32, 1, entries+1), ids: make([]int32, 1, entries+1)}
	t.resize(entries)
	return t
}

// resize moves the entries to a larger table, by the hashes they came with.
func (t *table) resize(entries int) {
	n := 16
	for n*3 < entries*4 {
		n *= 2
	}
	old := t.slots
	t.slots = make([]slot, n)
	for _, o := range old {
		if o.entry == 0 {
			continue
		}
		at := int(o.hash) & (n - 1)
		for t.slots[at].entry != 0 {
			at = (at + 1) & (n - 1)
		}
		t.slots[at] = o
	}
}

// entry is the text of an entry, valid until the next put.
func (t *table) entry(e int) []byte { return t.arena[t.ends[e-1]:t.ends[e]] }

// slot finds where text is, or where it would be put.
func (t *table) slot(text []byte) (at int, hash uint32, found bool) {
	mask := len(t.slots) - 1
	hash = uint32(maphash.Bytes(t.seed, text))
	for at = int(hash) & mask; ; at = (at + 1) & mask {
		s := t.slots[at]
		if s.entry == 0 {
			return at, hash, false
		}
		if s.hash == hash && string(t.entry(int(s.entry))) == string(text) {
			return at, hash, true
		}
	}
}

// put adds or changes a text; the last id wins, as in the library.
func (t *table) put(text []byte, id int32) {
	at, hash, found := t.slot(text)
	if found {
		t.ids[t.slots[at].entry] = id
		return
	}
	if len(t.ids)*4 > len(t.slots)*3 {
		t.resize(len(t.ids) * 2)
		at, _, _ = t.slot(text)
	}
	t.slots[at] = slot{uint32(len(t.ids)), hash}
	t.arena = append(t.arena, text...)
	t.ends = append(t.ends, uint32(len(t.arena)))
	t.ids = append(t.ids, id)
}

// find is the id of a text.
func (t *table) find(text []byte) (int32, bool) {
	at, _, found := t.slot(text)
	if !found {
		return 0, false
	}
	return t.ids[t.slots[at].entry], true
}

// findString is find for a string, which is not copied: slot only reads it.
func (t *table) findString(text string) (int32, bool) {
	return t.find(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// len counts the texts.
func (t *table) len() int { return len(t.ids) - 1 }

// pairs maps two neighbouring symbols to the rank of their merge and what they become. Open addressing on one slice:
// this look-up is the inner loop of encoding.
type pairs struct {
	slots []pairSlot
	n     int
}

type pairSlot struct {
	key      uint64 // left<<32 | right, plus one so that 0 is free
	rank, id int32
}

// newPairs makes a table for n merges, at most half used.
func newPairs(n int) *pairs {
	size := 16
	for size < n*2 {
		size *= 2
	}
	return &pairs{slots: make([]pairSlot, size)}
}

// find is the merge of two neighbours.
func (p *pairs) find(left, right int32) (rank, id int32, ok bool) {
	key := uint64(uint32(left))<<32 | uint64(uint32(right)) + 1
	mask := uint64(len(p.slots) - 1)
	for at := mix(key) & mask; ; at = (at + 1) & mask {
		s := &p.slots[at]
		if s.key == key {
			return s.rank, s.id, true
		}
		if s.key == 0 {
			return 0, 0, false
		}
	}
}

// put keeps the last merge of a pair. The table never grows: it is made for all merges.
func (p *pairs) put(left, right, rank, id int32) {
	key := uint64(uint32(left))<<32 | uint64(uint32(right)) + 1
	mask := uint64(len(p.slots) - 1)
	at := mix(key) & mask
	for p.slots[at].key != 0 && p.slots[at].key != key {
		at = (at + 1) & mask
	}
	if p.slots[at].key == 0 {
		p.n++
	}
	p.slots[at] = pairSlot{key, rank, id}
}

// mix spreads a key over 64 bits (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
