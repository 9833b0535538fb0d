package hfclient

import "strings"

// maxLink bounds a Link header; the Hub's cursors take some hundred bytes.
const maxLink = 16 << 10

// nextLink reads the target of rel="next" from a Link header (RFC 8288), or "" if there is none.
func nextLink(header string) string {
	if len(header) > maxLink {
		return ""
	}
	for rest := header; rest != ""; {
		start := strings.IndexByte(rest, '<')
		if start < 0 {
			return ""
		}
		end := strings.IndexByte(rest[start:], '>')
		if end < 0 {
			return ""
		}
		target := rest[start+1 : start+end]
		var params string
		params, rest = cutUnquoted(rest[start+end+1:], ',')
		if isNext(params) {
			return target
		}
	}
	return ""
}

// cutUnquoted cuts s at the first sep outside quotes.
func cutUnquoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// isNext takes "next" among several relations, quoted or not, in any case.
func isNext(params string) bool {
	for params != "" {
		var p string
		p, params = cutUnquoted(params, ';')
		k, v, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(k), "rel") {
			continue
		}
		for _, rel := range strings.Fields(strings.Trim(strings.TrimSpace(v), `"`)) {
			if strings.EqualFold(rel, "next") {
				return true
			}
		}
	}
	return false
}
