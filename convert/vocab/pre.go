package vocab

// Prover encodes texts with llama.cpp's own tokenizer, from the bytes of a vocabulary-only GGUF file.
type Prover interface {
	Encode(gguf []byte, texts []string) ([][]int32, error)
}

// How a pre-tokenizer was decided.
type How string

// The ways.
const (
	HowHash      How = "hash"      // the reference's table knows the tokenizer
	HowStructure How = "structure" // normalizer and splitter are those of a known entry
	HowOverride  How = "override"  // the user said so
	HowFormat    How = "format"    // the file format states it
)

// Identity is the decision on a pre-tokenizer.
type Identity struct {
	Pre    string
	How    How
	Proven bool
}

const (
	splitQwen    = ``
	splitHunyuan = ``
	splitKimi    = ``
)

func (b *builder) identify() (string, error) { return b.in.Pre, nil }

func (b *builder) identifyRanks(f rankFamily, v *rankVocab) (string, error) { return f.pre, nil }
