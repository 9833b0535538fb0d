package vocab

import (
	"fmt"
	"io/fs"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"quern/convert/fault"
)

// The kinds of SentencePiece model that llama.cpp has a vocabulary for.
// Source: sentencepiece_model.proto, TrainerSpec.ModelType.
const (
	spUnigram = 1
	spBPE     = 2
)

// pieceModel is what a vocabulary takes of a SentencePiece model file.
type pieceModel struct {
	pieces       []token
	model        uint64
	dummyPrefix  bool
	trimSpaces   bool
	charsmap     []byte
	byteFallback bool
}

// openPieces reads the first of the named model files that the checkpoint has; nil when it has none.
func openPieces(src fs.FS, names ...string) (*pieceModel, string, error) {
	for _, name := range names {
		b, err := read(src, name)
		if err != nil {
			return nil, name, err
		}
		if b != nil {
			m, err := parsePieces(name, b)
			return m, name, err
		}
	}
	return nil, "", nil
}

// parsePieces reads a SentencePiece model. The types of tokens are those that the reference concludes: a piece that is
// user defined in the model is an ordinary token here.
func parsePieces(name string, b []byte) (*pieceModel, error) {
	m := &pieceModel{model: spUnigram, dummyPrefix: true, trimSpaces: true}
	err := fields(b, func(n protowire.Number, v uint64, data []byte) error {
		switch n {
		case 1:
			if len(m.pieces) == maxTokens {
				return fmt.Errorf("more than %d pieces", maxTokens)
			}
			p, err := parsePiece(data)
			m.pieces = append(m.pieces, p)
			return err
		case 2:
			return fields(data, func(n protowire.Number, v uint64, _ []byte) error {
				switch n {
				case 3:
					m.model = v
				case 35:
					m.byteFallback = v != 0
				}
				return nil
			})
		case 3:
			return fields(data, func(n protowire.Number, v uint64, data []byte) error {
				switch n {
				case 2:
					m.charsmap = data
				case 3:
					m.dummyPrefix = v != 0
				case 4:
					m.trimSpaces = v != 0
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && len(m.pieces) == 0 {
		err = fmt.Errorf("no pieces")
	}
	if err != nil {
		return nil, &fault.Invalid{On: name, Says: "not a SentencePiece model", Err: err}
	}
	for i := range m.pieces {
		// The library keeps a NUL piece out of use when bytes have tokens of their own.
		if m.byteFallback && m.pieces[i].text == "\x00" {
			m.pieces[i].typ = Unused
		}
	}
	return m, nil
}

func parsePiece(b []byte) (token, error) {
	t := token{typ: Normal}
	err := fields(b, func(n protowire.Number, v uint64, data []byte) error {
		switch n {
		case 1:
			t.text = string(data)
		case 2:
			t.score = math.Float32frombits(uint32(v))
		case 3:
			switch v {
			case 2, 3, 5, 6: // unknown, control, unused, byte: the numbers of both formats agree
				t.typ = TokenType(v)
			}
		}
		return nil
	})
	return t, err
}

// fields calls f for every field of a message: v for numbers, data for bytes, texts and messages.
func fields(b []byte, f func(n protowire.Number, v uint64, data []byte) error) error {
	for len(b) > 0 {
		n, typ, l := protowire.ConsumeTag(b)
		if l < 0 {
			return protowire.ParseError(l)
		}
		b = b[l:]
		var v uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			v, l = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var w uint32
			w, l = protowire.ConsumeFixed32(b)
			v = uint64(w)
		case protowire.Fixed64Type:
			v, l = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			data, l = protowire.ConsumeBytes(b)
		default:
			l = protowire.ConsumeFieldValue(n, typ, b)
		}
		if l < 0 {
			return protowire.ParseError(l)
		}
		b = b[l:]
		if err := f(n, v, data); err != nil {
			return err
		}
	}
	return nil
}
