package smoke

import (
	"fmt"
	"slices"
	"strings"
)

// The names of the checks. They are in receipts and in people's scripts: a name keeps its meaning.
const (
	nameLoad       = "load"
	nameTokens     = "tokens"
	nameEncoder    = "encoder"
	nameLogits     = "logits"
	nameState      = "state"
	nameRepetition = "repetition"
	nameUTF8       = "utf-8"
	nameEnd        = "end"
	namePerplexity = "perplexity"
	nameSource     = "source"
	nameEmbedding  = "embedding"
	nameSimilarity = "similarity"
	nameRanking    = "ranking"
	nameClasses    = "classes"
	nameAdapter    = "adapter"
	nameChange     = "change"
	nameTowers     = "towers"
	nameShapes     = "shapes"
	nameWidth      = "width"
	namePicture    = "picture"
	nameSound      = "sound"
)

// Kind is a check that there is.
type Kind struct {
	Name    string
	Judges  string // what it looks at, in a few words
	Trained bool   // only a trained model can pass it
}

// kinds lists all checks in the order in which they are made.
var kinds = []Kind{
	{nameLoad, "llama.cpp accepts the file, and no block or value of a tensor is invalid", false},
	{nameTokens, "llama.cpp's ids are those of the checkpoint's own tokenizer; of a file alone: a text comes back whole", false},
	{nameEncoder, "encoder and decoder: what the encoder reads changes what the decoder says", false},
	{nameLogits, "no logit is NaN or infinite, and no step has all logits equal", false},
	{nameState, "a text read at once and token by token leads to the same expectations: cache and recurrent states", false},
	{nameRepetition, "a greedy answer is not one token over and over", true},
	{nameUTF8, "a greedy answer is text", true},
	{nameEnd, "the token that ends a turn of the chat template ends a generation, and is no ordinary text", false},
	{namePerplexity, "the model knows more of a plain text than how often each token occurs in it", true},
	{nameSource, "next tokens are close to those of the source precision (--against)", false},
	{nameEmbedding, "embeddings: all values finite, the norm not zero", false},
	{nameSimilarity, "embeddings: related sentences are nearer than unrelated ones", true},
	{nameClasses, "classifiers: all scores finite", false},
	{nameRanking, "rerankers: the passage that answers scores higher", true},
	{nameAdapter, "adapters: llama.cpp puts it on its base", false},
	{nameChange, "adapters: it changes what the base says", false},
	{nameTowers, "projectors: the file has a tower that llama.cpp loads", false},
	{nameShapes, "projectors: the tensors are what the keys say", false},
	{nameWidth, "projectors: what it makes is as wide as the model's embeddings", false},
	{namePicture, "projectors: two generated pictures lead to different, finite expectations", false},
	{nameSound, "projectors: two generated sounds lead to different, finite expectations", false},
}

// Kinds lists all checks in the order in which they are made. Each model gets those that fit it.
func Kinds() []Kind { return slices.Clone(kinds) }

// Untrained stands in a list of checks for all that random weights can pass.
const Untrained = "untrained"

// ParseChecks reads a list of names, separated by commas, of which Untrained may be one. An empty list is nil: all checks.
func ParseChecks(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	var names []string
	for w := range strings.SplitSeq(list, ",") {
		w = strings.TrimSpace(w)
		if w != Untrained && !slices.ContainsFunc(kinds, func(k Kind) bool { return k.Name == w }) {
			return nil, &UnknownCheckError{w}
		}
		names = append(names, w)
	}
	return names, nil
}

// UnknownCheckError names what is no check.
type UnknownCheckError struct{ Name string }

// Error says which name is not known.
func (e *UnknownCheckError) Error() string { return fmt.Sprintf("no check is called %q", e.Name) }

// Hint lists the names that there are.
func (e *UnknownCheckError) Hint() string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name
	}
	return "the checks are " + strings.Join(names, ", ") + "; `" + Untrained + "` is all that random weights can pass"
}

// wants tells whether a check is to be made.
func (o *Options) wants(name string) bool {
	return len(o.Checks) == 0 || slices.Contains(o.Checks, name) ||
		slices.Contains(o.Checks, Untrained) && slices.ContainsFunc(kinds, func(k Kind) bool { return k.Name == name && !k.Trained })
}

// step makes one check, or a few that are seen in one go.
type step struct {
	names []string
	run   func() error
}

// wanted is the first of a step's checks that is to be made; "" where none is.
func (o *Options) wanted(s step) string {
	for _, n := range s.names {
		if o.wants(n) {
			return n
		}
	}
	return ""
}

// misfits are the checks that were named and that no step makes.
func (o *Options) misfits(steps []step) []string {
	return slices.DeleteFunc(slices.Clone(o.Checks), func(name string) bool {
		return name == Untrained || name == nameLoad || slices.ContainsFunc(steps, func(s step) bool { return slices.Contains(s.names, name) })
	})
}
