package card

import (
	"iter"
	"regexp"
	"strings"

	"quern/convert/config"
)

func mapKeys(o config.Object) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range o {
			if !yield(k) {
				return
			}
		}
	}
}

// cardSources reads base models or data sets: ids, addresses, or objects; null and other values are an empty list.
func (m *meta) cardSources(k key, f front) error {
	for _, name := range k.card {
		e, ok := f[name]
		if !ok {
			continue
		}
		list, _ := e.v.([]any)
		if s, ok := e.v.(string); ok {
			list = []any{s}
		}
		at := problem{line: e.line, key: name}
		out := make([]any, len(list))
		for i, v := range list {
			switch v := v.(type) {
			case string:
				out[i] = sourceOf(v, m.in.Params.Total)
			case config.Object:
				out[i] = m.checked(v, at)
			default:
				m.warn(at.where(), describe(v)+", neither an id nor an object")
				out[i] = config.Object{}
			}
		}
		m.put(k.name, out, at.where())
		return nil
	}
	return nil
}

// checked leaves out what the file cannot hold; with Strict that is found when the file is written.
func (m *meta) checked(o config.Object, at problem) config.Object {
	if m.in.Strict {
		return o
	}
	out := config.Object{}
	for _, k := range sourceKeys {
		v, ok := o[k]
		if !ok {
			continue
		}
		if _, err := text.typed(v); err != nil {
			m.warn(at.where()+": "+k, err.Error()+"; left out")
			continue
		}
		out[k] = v
	}
	return out
}

// reHub matches the page of a model. A data set's page has one part more and is an address like any other.
var reHub = regexp.MustCompile(`^https?://huggingface.co/([^/]+/[^/]+)$`)

// sourceOf takes an id of the Hub or an address apart.
func sourceOf(id string, total int64) config.Object {
	o := config.Object{}
	name := id
	address := false
	// The reference asks for these three only: ftp://x is taken for an organization and a name.
	for _, scheme := range []string{"http://", "https://", "ssh://"} {
		address = address || strings.HasPrefix(id, scheme)
	}
	if address {
		o["repo_url"] = id
		m := reHub.FindStringSubmatch(id)
		if m == nil {
			return o
		}
		name = m[1]
	}
	p := parseID(name, total)
	o["name"] = title(p.full)
	if p.hasOrg {
		o["organization"] = title(p.org)
		if !address {
			o["repo_url"] = "https://huggingface.co/" + p.org + "/" + p.full
		}
	}
	if p.version != "" {
		o["version"] = p.version
	}
	return o
}
