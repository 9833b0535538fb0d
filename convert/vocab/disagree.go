package vocab

import "fmt"

// maxNamed is how many tokens a warning names; the rest is counted.
const maxNamed = 3

// disagreements names what tokenizer_config.json says otherwise than tokenizer.json. Which of the two the reference
// follows differs from entry to entry, so that a checkpoint whose files disagree deserves a look.
func (b *builder) disagreements() error {
	added, err := configAdded(b.src)
	if err != nil {
		return err
	}
	var named []string
	count := 0
	say := func(format string, args ...any) {
		if count++; count <= maxNamed {
			named = append(named, fmt.Sprintf(format, args...))
		}
	}
	for _, a := range added {
		id, ok := b.hf.tok.ID(a.Content)
		switch {
		case !ok:
			say("token %q (id %d) is unknown to the tokenizer", a.Content, a.id)
		case int64(id) != a.id:
			text, _ := b.hf.text(int(a.id))
			say("token %q has the id %d there and %d in the tokenizer, where %d is %q", a.Content, a.id, id, a.id, text)
		}
	}
	for _, role := range roles {
		text, ok := b.hf.config[role].(string)
		if !ok {
			text, ok = member(b.hf.config[role], "content").(string)
		}
		if _, known := b.hf.tok.ID(text); ok && !known {
			say("%s is %q, which is no token", role, text)
		}
	}
	for _, n := range named {
		b.warn("tokenizer_config.json disagrees with the tokenizer: %s", n)
	}
	if count > maxNamed {
		b.warn("tokenizer_config.json disagrees with the tokenizer in %d more points", count-maxNamed)
	}
	return nil
}
