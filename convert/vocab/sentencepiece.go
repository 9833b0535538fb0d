package vocab

import (
	"errors"
	"io/fs"

	"quern/convert/fault"
	"quern/convert/tokenizer"
)

// pieceModel is a SentencePiece model with its pieces as tokens.
type pieceModel struct {
	*tokenizer.SentencePiece
	tokens []token
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
	sp, err := tokenizer.ParseSentencePiece(b)
	if invalid := (*fault.Invalid)(nil); errors.As(err, &invalid) {
		return nil, &fault.Invalid{On: name, Says: invalid.Says, Next: invalid.Next, Err: invalid.Err}
	}
	if err != nil {
		return nil, err
	}
	m := &pieceModel{sp, make([]token, len(sp.Pieces))}
	for i, p := range sp.Pieces {
		m.tokens[i] = token{p.Text, p.Score, Normal}
		switch p.Type {
		case tokenizer.PieceUnknown, tokenizer.PieceControl, tokenizer.PieceUnused, tokenizer.PieceByte:
			m.tokens[i].typ = TokenType(p.Type) // the numbers of both formats agree
		}
		if sp.ByteFallback && p.Text == "\x00" {
			m.tokens[i].typ = Unused // the library keeps a NUL piece out of use when bytes have tokens of their own
		}
	}
	return m, nil
}
