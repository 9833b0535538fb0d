package tokenizer

import (
	"fmt"
	"math"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"quern/convert/fault"
)

// PieceType is the type of a piece of a SentencePiece model. Source: sentencepiece_model.proto.
type PieceType int32

// The types of pieces.
const (
	PieceNormal      PieceType = 1
	PieceUnknown     PieceType = 2
	PieceControl     PieceType = 3
	PieceUserDefined PieceType = 4
	PieceUnused      PieceType = 5
	PieceByte        PieceType = 6
)

// The kinds of SentencePiece models.
const (
	SPMUnigram int32 = 1
	SPMBPE     int32 = 2
	SPMWord    int32 = 3
	SPMChar    int32 = 4
)

// Piece is one entry of a SentencePiece vocabulary; its id is its place.
type Piece struct {
	Text  string
	Score float32
	Type  PieceType
}

// SentencePiece is a SentencePiece model (tokenizer.model, spiece.model). Members that the file lacks have the format's
// defaults.
type SentencePiece struct {
	Pieces []Piece

	Kind                         int32 // SPMUnigram...
	UnkID, BosID, EosID, PadID   int32
	UnkPiece, BosPiece, EosPiece string
	PadPiece                     string
	ByteFallback                 bool
	WhitespaceAsSuffix           bool

	NormalizerName         string
	Charsmap               []byte // compiled normalization; empty: none
	AddDummyPrefix         bool
	RemoveExtraWhitespaces bool
	EscapeWhitespaces      bool

	once    sync.Once
	encoder *spmEncoder
	err     error
}

// ParseSentencePiece reads a SentencePiece model.
func ParseSentencePiece(data []byte) (*SentencePiece, error) {
	if len(data) > maxFile {
		return nil, &fault.Invalid{On: "sentencepiece model", Says: fmt.Sprintf("holds %d bytes, at most %d are read", len(data), maxFile)}
	}
	m := &SentencePiece{Kind: SPMUnigram, UnkID: 0, BosID: 1, EosID: 2, PadID: -1, UnkPiece: "<unk>", BosPiece: "<s>", EosPiece: "</s>",
		PadPiece: "<pad>", AddDummyPrefix: true, RemoveExtraWhitespaces: true, EscapeWhitespaces: true}
	err := fields(data, func(f field) error {
		switch {
		case f.num == 1 && f.isBytes:
			return m.piece(f.bytes)
		case f.num == 2 && f.isBytes:
			return fields(f.bytes, m.trainer)
		case f.num == 3 && f.isBytes:
			return fields(f.bytes, m.normalizerSpec)
		}
		return nil
	})
	if err != nil {
		return nil, asFault("sentencepiece model", err)
	}
	if len(m.Pieces) == 0 {
		return nil, &fault.Invalid{On: "sentencepiece model", Says: "has no pieces"}
	}
	return m, nil
}

// field is one field of a protobuf message.
type field struct {
	num     protowire.Number
	varint  uint64
	bytes   []byte
	isBytes bool
	fixed32 uint32
}

// fields takes a message apart.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		x := field{num: num}
		switch typ {
		case protowire.VarintType:
			x.varint, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			x.bytes, n = protowire.ConsumeBytes(b)
			x.isBytes = true
		case protowire.Fixed32Type:
			x.fixed32, n = protowire.ConsumeFixed32(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// piece reads one entry of the vocabulary. A score that is no number would make the best way through a text depend on the
// order of comparisons.
func (m *SentencePiece) piece(b []byte) error {
	if len(m.Pieces) > maxID {
		return tooHigh("sentencepiece model", uint32(len(m.Pieces)))
	}
	p := Piece{Type: PieceNormal}
	err := fields(b, func(f field) error {
		switch f.num {
		case 1:
			p.Text = string(f.bytes)
		case 2:
			p.Score = math.Float32frombits(f.fixed32)
		case 3:
			p.Type = PieceType(f.varint)
		}
		return nil
	})
	if p.Score != p.Score {
		return &fault.Invalid{On: "sentencepiece model", Says: fmt.Sprintf("piece %d has no number as its score", len(m.Pieces))}
	}
	m.Pieces = append(m.Pieces, p)
	return err
}

// trainer reads the fields of TrainerSpec that bear on encoding.
func (m *SentencePiece) trainer(f field) error {
	n := int32(f.varint)
	switch f.num {
	case 3:
		m.Kind = n
	case 24:
		m.WhitespaceAsSuffix = n != 0
	case 35:
		m.ByteFallback = n != 0
	case 40:
		m.UnkID = n
	case 41:
		m.BosID = n
	case 42:
		m.EosID = n
	case 43:
		m.PadID = n
	case 45:
		m.UnkPiece = string(f.bytes)
	case 46:
		m.BosPiece = string(f.bytes)
	case 47:
		m.EosPiece = string(f.bytes)
	case 48:
		m.PadPiece = string(f.bytes)
	}
	return nil
}

// normalizerSpec reads the fields of NormalizerSpec that bear on encoding.
func (m *SentencePiece) normalizerSpec(f field) error {
	switch f.num {
	case 1:
		m.NormalizerName = string(f.bytes)
	case 2:
		m.Charsmap = f.bytes
	case 3:
		m.AddDummyPrefix = f.varint != 0
	case 4:
		m.RemoveExtraWhitespaces = f.varint != 0
	case 5:
		m.EscapeWhitespaces = f.varint != 0
	}
	return nil
}
