package card

import (
	"fmt"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
)

// write makes the entries. A wrong value that is still there comes from an override file, or from any source with
// Strict: an error that names it.
func (m *meta) write() ([]gguf.KV, error) {
	var out []gguf.KV
	for _, k := range keys {
		v := m.v[k.name].v
		if v == nil {
			continue
		}
		if k.kind == origins {
			more, err := m.sources(k.name, v)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
			continue
		}
		typed, err := k.kind.typed(v)
		if err != nil {
			return nil, m.wrong(k.name, err.Error())
		}
		if typed != nil {
			out = append(out, gguf.KV{Key: k.name, Value: typed})
		}
		m.tell(k.name, typed)
	}
	return out, nil
}

// wrong names the source, not the key of the file: that is what the user can correct.
func (m *meta) wrong(name, says string) error {
	return &fault.Invalid{On: m.from[name], Says: says, Next: fmt.Sprintf("correct the value there: it becomes %s of the file", name)}
}

// tell keeps what the caller needs apart from the entries.
func (m *meta) tell(name string, v any) {
	s, _ := v.(string)
	switch name {
	case "general.name":
		m.info.Parts.Name = s
	case "general.basename":
		m.info.Parts.Basename = s
	case "general.finetune":
		m.info.Parts.Finetune = s
	case "general.version":
		m.info.Parts.Version = s
	case "general.size_label":
		m.info.Parts.SizeLabel = s
	case "general.license":
		m.info.License = s
	case "general.license.name":
		m.info.LicenseName = s
	case "general.license.link":
		m.info.LicenseLink = s
	}
}

// sources writes the count, also of none, and what is known of each.
func (m *meta) sources(name string, v any) ([]gguf.KV, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, m.wrong(name, describe(v)+", a list of objects is needed")
	}
	out := []gguf.KV{{Key: name + ".count", Value: uint32(len(list))}}
	for i, e := range list {
		o, ok := e.(config.Object)
		if !ok {
			return nil, m.wrong(name, fmt.Sprintf("%s at place %d of the list, an object is needed", describe(e), i+1))
		}
		for _, k := range sourceKeys {
			typed, err := text.typed(o[k])
			if err != nil {
				return nil, m.wrong(name, fmt.Sprintf("%s at place %d: %s", k, i+1, err))
			}
			if typed != nil {
				out = append(out, gguf.KV{Key: strings.Join([]string{name, fmt.Sprint(i), k}, "."), Value: typed})
			}
		}
	}
	return out, nil
}
