package capi

// Position is a token's place in its sequence.
type Position = int32

// Sequence numbers the texts of a context.
type Sequence = int32

// cBatch is struct llama_batch.
type cBatch struct {
	n         int32
	_         int32
	tokens    *Token
	_         *float32 // vectors in place of tokens
	positions *Position
	counts    *int32
	sequences **Sequence
	outputs   *int8
}

// Batch is tokens to evaluate together, in memory of Go's that llama.cpp reads during the call alone.
type Batch struct {
	tokens    []Token
	positions []Position
	counts    []int32 // sequences of each token: always one
	sequences []Sequence
	each      []*Sequence // into sequences
	outputs   []int8
	n         int
}

// NewBatch makes room for so many tokens.
func NewBatch(size int) *Batch {
	b := &Batch{
		tokens: make([]Token, size), positions: make([]Position, size), counts: make([]int32, size),
		sequences: make([]Sequence, size), each: make([]*Sequence, size), outputs: make([]int8, size),
	}
	for i := range size {
		b.counts[i], b.each[i] = 1, &b.sequences[i]
	}
	return b
}

// Len is the number of tokens in the batch.
func (b *Batch) Len() int { return b.n }

// Clear empties the batch.
func (b *Batch) Clear() { b.n = 0 }

// Add appends a token; output asks for its logits or embedding. False: the batch is full.
func (b *Batch) Add(t Token, at Position, s Sequence, output bool) bool {
	if b.n >= len(b.tokens) || b.positions == nil {
		return false
	}
	b.tokens[b.n], b.positions[b.n], b.sequences[b.n], b.outputs[b.n] = t, at, s, 0
	if output {
		b.outputs[b.n] = 1
	}
	b.n++
	return true
}

// Following is a batch of tokens that continue sequence 0 where it ends, with the last one as output.
func Following(tokens []Token) *Batch { return &Batch{tokens: tokens, n: len(tokens)} }

// c is the batch as C sees it.
func (b *Batch) c() cBatch {
	c := cBatch{n: int32(b.n)}
	if b.n == 0 {
		return c
	}
	c.tokens = &b.tokens[0]
	if b.positions != nil {
		c.positions, c.counts, c.sequences, c.outputs = &b.positions[0], &b.counts[0], &b.each[0], &b.outputs[0]
	}
	return c
}
