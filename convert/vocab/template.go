package vocab

import (
	"io/fs"
	"path"
	"sort"
	"strings"

	"quern/convert/config"
)

// Where a chat template may stand, the first place that has one wins:
//
//	tokenizer_config.json   chat_template: a text, or a list of {name, template}; null means none, whatever follows
//	chat_template.jinja     the default one, with additional_chat_templates/*.jinja under the names of their files
//	chat_template.json      chat_template of that file
//
// Source: gguf-py/gguf/vocab.py, _try_load_from_tokenizer_json; gguf_writer.py, add_chat_template.
// chatTemplate is a checkpoint's template: none, one text, or several by name.
type chatTemplate struct {
	text  string
	named []namedTemplate // when not nil, text is not used
	some  bool
}

// namedTemplate is one of several.
type namedTemplate struct {
	name string
	text *string // nil: the entry has no template and is skipped
}

// loadTemplate finds the template: tokenizer_config.json's, where a null blocks the other places, then
// chat_template.jinja with the folder additional_chat_templates, then chat_template.json.
// config must not be empty: without tokenizer_config.json the reference looks nowhere.
func loadTemplate(src fs.FS, tc config.Object, warn func(string, ...any)) (chatTemplate, error) {
	if v, ok := tc["chat_template"]; ok {
		return parseTemplate(v, "tokenizer_config.json", warn), nil
	}
	text, ok, err := readText(src, "chat_template.jinja")
	if err != nil {
		return chatTemplate{}, err
	}
	if !ok {
		alt, err := readObject(src, "chat_template.json")
		if err != nil {
			return chatTemplate{}, err
		}
		return parseTemplate(alt["chat_template"], "chat_template.json", warn), nil
	}
	more, err := fs.Glob(src, "additional_chat_templates/*.jinja")
	if err != nil || len(more) == 0 {
		return chatTemplate{text: text, some: true}, nil
	}
	// The reference takes the folder's order; ours is sorted, so that the same checkpoint gives the same file.
	sort.Strings(more)
	t := chatTemplate{some: true, named: []namedTemplate{{"default", &text}}}
	for _, file := range more {
		text, _, err := readText(src, file)
		if err != nil {
			return chatTemplate{}, err
		}
		t.named = append(t.named, namedTemplate{strings.TrimSuffix(path.Base(file), ".jinja"), &text})
	}
	return t, nil
}

// parseTemplate reads a template as JSON holds it: a text, or a list of objects with name and template.
func parseTemplate(v any, file string, warn func(string, ...any)) chatTemplate {
	switch v := v.(type) {
	case nil:
	case string:
		return chatTemplate{text: v, some: true}
	case []any:
		t := chatTemplate{some: true, named: []namedTemplate{}}
		for _, item := range v {
			name, _ := member(item, "name").(string)
			n := namedTemplate{name: name}
			if text, ok := member(item, "template").(string); ok {
				n.text = &text
			}
			t.named = append(t.named, n)
		}
		return t
	default:
		warn("%s: chat_template is neither a text nor a list of texts: ignored", file)
	}
	return chatTemplate{}
}

// write sets the entries; without a template it leaves what is there.
// Several templates: one key each, then the list of names, then "default" under the plain key.
func (t chatTemplate) write(e *entries) {
	if !t.some {
		return
	}
	if t.named == nil {
		e.set(keyTemplate, t.text)
		return
	}
	var standard string
	names := map[string]bool{}
	for _, n := range t.named {
		name := plainName(n.name)
		switch {
		case name == "" || n.text == nil:
		case name == "default":
			standard = *n.text
		default:
			names[name] = true
			e.set(keyTemplate+"."+name, *n.text)
		}
	}
	// The reference writes the names in the order of a hash set; ours is sorted.
	list := make([]string, 0, len(names))
	for n := range names {
		list = append(list, n)
	}
	sort.Strings(list)
	e.set(keyTemplates, list)
	e.set(keyTemplate, standard)
}

// plainName keeps ASCII letters and digits of a template's name.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}
