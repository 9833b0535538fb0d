package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/tokenizer"
	"quern/convert/vocab"
	"quern/quantize/llamacpp"
	"quern/stages/plan"
	"quern/stages/source"

	"github.com/urfave/cli/v2"
)

func tokenizeCommand() *cli.Command {
	return &cli.Command{
		Name: "tokenize", Category: groupLook, ArgsUsage: "MODEL [TEXT...]", Usage: "ids by our engine and by llama.cpp, and how the pre-tokenizer was decided",
		Flags: join([]cli.Flag{
			&cli.StringFlag{Name: "file", Usage: "texts from `FILE`, a JSON array of strings"},
			&cli.BoolFlag{Name: "special", Usage: "with the tokens that the model adds around a text"},
			&cli.BoolFlag{Name: "explain", Usage: "which pre-tokenizer, how it was decided, what differs"},
			&cli.StringFlag{Name: "pre", Usage: "`NAME` of the pre-tokenizer, in place of the identified one"},
		}, hubFlags()),
		Action: action(1, -1, tokenize),
	}
}

func tokenize(ctx context.Context, c *cli.Context, o *output) error {
	s, err := newState(c, c.Args().First())
	if err != nil {
		return err
	}
	texts, err := tokenizeTexts(c)
	if err != nil {
		return err
	}
	explain := c.Bool("explain") || c.String("pre") != ""
	t, id, err := plan.Tokenizer(ctx, s, explain)
	if err != nil {
		return err
	}
	if explain {
		if id == nil {
			return &fault.Unsupported{On: s.Model, Says: "has no pre-tokenizer to decide", Next: "only byte-level vocabularies have one, and a GGUF file states its own"}
		}
		printIdentity(id, o)
	}
	if len(texts) == 0 {
		return nil
	}
	theirs, err := llamaIDs(ctx, c, o, s.Source, texts)
	if err != nil {
		return err
	}
	if t == nil && theirs == nil {
		_, err := findRuntime(c)
		return err
	}
	return printIDs(t, theirs, texts, c.Bool("special"), o)
}

func tokenizeTexts(c *cli.Context) ([]string, error) {
	texts := c.Args().Tail()
	f := c.String("file")
	if f == "" {
		return texts, nil
	}
	b, err := os.ReadFile(f)
	if err != nil {
		return nil, err
	}
	var more []string
	if err := json.Unmarshal(b, &more); err != nil {
		return nil, &fault.Invalid{On: f, Says: "is not a JSON array of strings", Err: err}
	}
	return append(texts, more...), nil
}

// printIDs writes a line of ids for each text. Where llama.cpp encodes beside our engine and differs, its ids follow.
func printIDs(t *tokenizer.Tokenizer, theirs [][]int32, texts []string, special bool, o *output) error {
	for i, text := range texts {
		var ids []int32
		if t != nil {
			var err error
			if ids, err = t.Encode(text, special); err != nil {
				return err
			}
		} else {
			ids = theirs[i]
		}
		if o.json {
			b, err := json.Marshal(struct {
				IDs   []int32 `json:"ids"`
				Llama []int32 `json:"llama,omitempty"`
			}{nonNil(ids), differing(ids, theirs, i)})
			if err != nil {
				return err
			}
			fmt.Fprintf(o.out, "%s\n", b)
			continue
		}
		o.printf("%s\n", joinIDs(ids))
		if d := differing(ids, theirs, i); d != nil {
			o.printf("%s   <- llama.cpp\n", joinIDs(d))
		}
	}
	return nil
}

func nonNil(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}

func differing(ids []int32, theirs [][]int32, i int) []int32 {
	if theirs == nil || slices.Equal(ids, theirs[i]) {
		return nil
	}
	return theirs[i]
}

func joinIDs(ids []int32) string {
	w := make([]string, len(ids))
	for i, id := range ids {
		w[i] = fmt.Sprint(id)
	}
	return strings.Join(w, " ")
}

// llamaIDs encodes by a GGUF file's own vocabulary, in a child.
func llamaIDs(ctx context.Context, c *cli.Context, o *output, src *source.Source, texts []string) ([][]int32, error) {
	if src.Kind != source.GGUF {
		return nil, nil
	}
	child, err := startChild(ctx, c)
	if err != nil {
		return nil, err
	}
	defer child.Close()
	m, err := child.Load(ctx, llamacpp.ModelOptions{Path: src.Path, VocabOnly: true})
	if err != nil {
		return nil, err
	}
	ids := make([][]int32, len(texts))
	for i, t := range texts {
		ids[i], err = child.Tokenize(ctx, llamacpp.TokenizeArgs{Slot: m.Slot, Text: []byte(t), Special: c.Bool("special"), Parse: true})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func printIdentity(id *vocab.Identity, o *output) {
	if o.json {
		if b, err := json.Marshal(id); err == nil {
			fmt.Fprintf(o.out, "%s\n", b)
		}
		return
	}
	proven := "proven against llama.cpp's vocabulary"
	if !id.Proven {
		proven = "not compared with llama.cpp"
	}
	o.printf("pre-tokenizer %s, by %s, %s\n", id.Pre, id.How, proven)
	if id.Structure != "" {
		o.printf("cuts: %s\n", id.Structure)
	}
	for _, d := range id.Differs {
		o.printf("differs (%s): %q ours %v llama.cpp %v\n", d.Kind, d.Text, d.Ours, d.Theirs)
	}
	for _, k := range id.Candidates {
		o.printf("candidate %-20s structure %-5v differs %d %s\n", k.Pre, k.Structure, k.Differs, k.Why)
	}
}
