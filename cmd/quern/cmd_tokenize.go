package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/vocab"
	"quern/stages/tokens"

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

// tokenize asks both engines where both can be asked: that they agree is what a user wants to know.
func tokenize(ctx context.Context, c *cli.Context, o *output) error {
	s, err := newState(c, c.Args().First())
	if err != nil {
		return err
	}
	defer s.Shut()
	texts, err := tokenizeTexts(c)
	if err != nil {
		return err
	}
	t, err := tokens.Open(ctx, s)
	if err != nil {
		return err
	}
	explain := c.Bool("explain") || s.Convert.Pre != "" || len(texts) == 0
	for _, w := range t.Warnings {
		fmt.Fprintf(o.err, "quern: warning: %s\n", w)
	}
	if explain {
		if err := printIdentity(t, o); err != nil {
			return err
		}
	} else if t.Refused != nil {
		fmt.Fprintf(o.err, "quern: warning: llama.cpp is not asked: %s\n", t.Refused)
	}
	if len(texts) == 0 {
		return nil
	}
	theirs, asked, err := t.Theirs(texts, c.Bool("special"))
	if err != nil {
		return err
	}
	if t.Ours == nil && !asked {
		_, err := findRuntime(c)
		return err
	}
	return printIDs(t, theirs, texts, c.Bool("special"), o)
}

// tokenizeTexts are the texts of the command line and of a file, which can hold what a shell cannot.
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

// encoded is a text's ids. Of a checkpoint those of its own tokenizer count, of a GGUF file llama.cpp's; the other side's
// follow where it was asked and differs.
type encoded struct {
	IDs   []int32 `json:"ids"`
	Llama []int32 `json:"llama,omitempty"`
	Ours  []int32 `json:"ours,omitempty"`
}

// printIDs writes a line of ids for each text, and under it the ids of the other side where they differ.
func printIDs(t *tokens.Tokens, theirs [][]int32, texts []string, special bool, o *output) error {
	differ := 0
	for i, text := range texts {
		var e encoded
		if t.Ours != nil {
			ids, err := t.Ours.Encode(text, special)
			if err != nil {
				return err
			}
			e.IDs = ids
		}
		switch {
		case theirs == nil || t.Ours != nil && slices.Equal(e.IDs, theirs[i]):
		case t.Ours == nil:
			e.IDs = theirs[i]
		case t.File:
			e.IDs, e.Ours = theirs[i], nonNil(e.IDs)
		default:
			e.Llama = nonNil(theirs[i])
		}
		if e.Llama != nil || e.Ours != nil {
			differ++
		}
		if err := e.print(o); err != nil {
			return err
		}
	}
	switch {
	case theirs == nil || t.Ours == nil:
	case differ == 0:
		fmt.Fprintf(o.err, "quern: llama.cpp agrees on %d of %d texts\n", len(texts), len(texts))
	default:
		fmt.Fprintf(o.err, "quern: llama.cpp encodes %d of %d texts otherwise\n", differ, len(texts))
	}
	return nil
}

// print writes the ids alone on a line of their own, so that other programs can read them, and differences under them.
func (e encoded) print(o *output) error {
	if o.json {
		e.IDs = nonNil(e.IDs)
		b, err := json.Marshal(e)
		if err == nil {
			fmt.Fprintf(o.out, "%s\n", b)
		}
		return err
	}
	o.printf("%s\n", joinIDs(e.IDs))
	if e.Llama != nil {
		o.printf("%s   <- llama.cpp\n", marked(e.Llama, e.IDs))
	}
	if e.Ours != nil {
		o.printf("%s   <- quern\n", marked(e.Ours, e.IDs))
	}
	return nil
}

// marked shows ids with what differs from other in brackets.
func marked(ids, other []int32) string {
	lo := 0
	for lo < len(ids) && lo < len(other) && ids[lo] == other[lo] {
		lo++
	}
	hi := 0
	for hi < len(ids)-lo && hi < len(other)-lo && ids[len(ids)-1-hi] == other[len(other)-1-hi] {
		hi++
	}
	parts := []string{joinIDs(ids[:lo]), "[" + joinIDs(ids[lo:len(ids)-hi]) + "]", joinIDs(ids[len(ids)-hi:])}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// nonNil makes a list that JSON writes as [] where there is none: null would say that nobody was asked.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// joinIDs writes ids with blanks between them.
func joinIDs(ids []int32) string {
	w := make([]string, len(ids))
	for i, id := range ids {
		w[i] = fmt.Sprint(id)
	}
	return strings.Join(w, " ")
}

// printIdentity says how the pre-tokenizer was decided; a refusal is shown with what was tried, and returned.
func printIdentity(t *tokens.Tokens, o *output) error {
	id := t.Identity
	var refused *vocab.UnknownPre
	if id == nil {
		if !errors.As(t.Refused, &refused) || refused.Identity == nil {
			return t.Refused
		}
		id = refused.Identity
	}
	if o.json {
		b, err := json.Marshal(id)
		if err != nil {
			return err
		}
		fmt.Fprintf(o.out, "%s\n", b)
		return t.Refused
	}
	proven := "proven against llama.cpp's vocabulary"
	if !id.Proven {
		proven = "not proven against llama.cpp's vocabulary"
	}
	switch {
	case refused != nil:
		o.printf("pre-tokenizer refused\n")
	case id.Pre == "":
		o.printf("no pre-tokenizer to choose\n")
	default:
		o.printf("pre-tokenizer %s, by %s, %s\n", id.Pre, id.How, proven)
	}
	if id.Structure != "" {
		o.printf("cuts: %s\n", id.Structure)
	}
	for _, d := range id.Differs {
		o.printf("differs (%s): %q ours %v llama.cpp %v\n", d.Kind, d.Text, d.Ours, d.Theirs)
	}
	for _, k := range id.Candidates {
		o.printf("candidate %-20s structure %-5v differs %d %s\n", k.Pre, k.Structure, k.Differs, k.Why)
		if refused != nil && k.First != nil {
			o.printf("  %q ours %v llama.cpp %v\n", k.First.Text, k.First.Ours, k.First.Theirs)
		}
	}
	return t.Refused
}
