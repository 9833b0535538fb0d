package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"quern/convert/fault"
)

// maxPadded bounds the length to which a file may ask to pad.
const maxPadded = 1 << 22

// fit is truncation and padding. They are part of a tokenizer.json; AutoTokenizer ignores them unless asked.
type fit struct {
	limit     int // -1: none
	leftCut   bool
	onlyPair  bool
	fixed     int // pad to this, 0: do not
	multiple  int
	padID     int32
	leftPad   bool
	padsBatch bool
}

var (
	truncationSchema = kindSchema{members: []member{{"direction", isSide, default_}, {"max_length", isSize, required}, {"strategy", isTruncation, required}, {"stride", isSize, required}}}
	paddingSchema    = kindSchema{members: []member{{"strategy", isPadding, required}, {"direction", isSide, required}, {"pad_to_multiple_of", isSize, nullable}, {"pad_id", isID, required},
		{"pad_type_id", isID, required}, {"pad_token", isString, required}}}
)

func isSide(raw json.RawMessage) bool { return isUnit(raw, "Left", "Right") }

func isTruncation(raw json.RawMessage) bool {
	return isUnit(raw, "LongestFirst", "OnlyFirst", "OnlySecond")
}

func isPadding(raw json.RawMessage) bool {
	name, holds, ok := variant(raw)
	return ok && (name == "BatchLongest" && holds == nil || name == "Fixed" && isSize(holds))
}

// parseFit reads both members; lengths are bounded here, before anything is padded to them.
func parseFit(truncation, padding json.RawMessage) (fit, error) {
	f := fit{limit: -1}
	o := object{}
	if truncation != nil {
		var t struct {
			Direction string `json:"direction"`
			MaxLength uint64 `json:"max_length"`
			Strategy  string `json:"strategy"`
		}
		if err := json.Unmarshal(truncation, &o); err != nil {
			return f, &fault.Invalid{On: "truncation", Says: "cannot be read", Err: err}
		}
		if bad := truncationSchema.check(o); bad != "" {
			return f, unfit("truncation", bad, o)
		}
		if err := json.Unmarshal(truncation, &t); err != nil {
			return f, &fault.Invalid{On: "truncation", Says: "cannot be read", Err: err}
		}
		// A length is only compared, so a larger one than any text is as good as none.
		f.limit, f.leftCut, f.onlyPair = int(min(t.MaxLength, math.MaxInt32)), t.Direction == "Left", t.Strategy == "OnlySecond"
	}
	if padding == nil {
		return f, nil
	}
	var p struct {
		Strategy  json.RawMessage `json:"strategy"`
		Direction string          `json:"direction"`
		Multiple  int             `json:"pad_to_multiple_of"`
		ID        uint32          `json:"pad_id"`
	}
	o = object{}
	if err := json.Unmarshal(padding, &o); err != nil {
		return f, &fault.Invalid{On: "padding", Says: "cannot be read", Err: err}
	}
	if bad := paddingSchema.check(o); bad != "" {
		return f, unfit("padding", bad, o)
	}
	if err := json.Unmarshal(padding, &p); err != nil {
		return f, &fault.Invalid{On: "padding", Says: "cannot be read", Err: err}
	}
	var fixed struct{ Fixed int }
	if len(p.Strategy) > 0 && p.Strategy[0] == '{' {
		if err := json.Unmarshal(p.Strategy, &fixed); err != nil {
			return f, &fault.Invalid{On: "padding", Says: "strategy cannot be read", Err: err}
		}
	}
	// Padding is allocated; truncation above is not.
	if p.ID > maxID || fixed.Fixed < 0 || fixed.Fixed > maxPadded || p.Multiple < 0 || p.Multiple > maxPadded {
		return f, &fault.Invalid{On: "padding", Says: fmt.Sprintf("length %d, multiple %d or id %d is out of bounds", fixed.Fixed, p.Multiple, p.ID)}
	}
	f.fixed, f.multiple, f.padID, f.leftPad, f.padsBatch = fixed.Fixed, p.Multiple, int32(p.ID), p.Direction == "Left", true
	return f, nil
}

// truncate leaves room for extra ids.
func (f fit) truncate(ids []int32, extra int) ([]int32, error) {
	if f.limit < 0 {
		return ids, nil
	}
	limit := f.limit - extra
	switch {
	case limit < 0:
		return nil, &fault.Invalid{On: "truncation", Says: fmt.Sprintf("max_length %d leaves no room for %d special tokens", f.limit, extra)}
	case len(ids) <= limit:
		return ids, nil
	case f.onlyPair:
		return nil, &fault.Invalid{On: "truncation", Says: "only a second text may be cut, and there is none"}
	case f.leftCut:
		return ids[len(ids)-limit:], nil
	}
	return ids[:limit], nil
}

// pad fills up to the fixed length, or to a multiple; a single text is its own longest, so it needs no other padding.
func (f fit) pad(ids []int32) []int32 {
	if !f.padsBatch {
		return ids
	}
	n := f.fixed
	if n == 0 {
		n = len(ids)
	}
	if f.multiple > 0 && n%f.multiple > 0 {
		n += f.multiple - n%f.multiple
	}
	if n <= len(ids) {
		return ids
	}
	pads := slices.Repeat([]int32{f.padID}, n-len(ids))
	if f.leftPad {
		return append(pads, ids...)
	}
	return append(ids, pads...)
}
