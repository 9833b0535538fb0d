package publish

import (
	_ "embed"
	"fmt"
	"strings"

	"quern/stages/source"
)

//go:embed licences.tsv
var licenceTable string

// Licence is what the source says about itself: general.license, .license.name and .license.link of the files.
type Licence struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	Link string `json:"link,omitempty"`
}

// String is the identifier, with the name where the identifier says nothing.
func (l Licence) String() string {
	if l.ID == "other" && l.Name != "" {
		return l.Name
	}
	return l.ID
}

// terms is a row of the table.
type terms struct{ verdict, with string }

// known are the rows by identifier, in lower case.
var known = readLicences(licenceTable)

func readLicences(table string) map[string]terms {
	all := map[string]terms{}
	for line := range strings.Lines(table) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") || len(f) < 2 {
			continue
		}
		t := terms{verdict: f[1]}
		if len(f) > 2 {
			t.with = f[2]
		}
		all[f[0]] = t
	}
	return all
}

// LicenceError says that a model may not be passed on, or that this is not known.
type LicenceError struct {
	Model, Licence, Link string
	Why                  string
}

// Error names model, licence and reason.
func (e *LicenceError) Error() string {
	if e.Licence == "" {
		return fmt.Sprintf("%s: %s", e.Model, e.Why)
	}
	return fmt.Sprintf("%s: the licence %q: %s", e.Model, e.Licence, e.Why)
}

// Hint says who decides.
func (e *LicenceError) Hint() string {
	read := ""
	if e.Link != "" {
		read = "read " + e.Link + "; "
	}
	return read + "--have-permission goes on where the licence or its owner allows it to you; dir:, ollama:, lmstudio: and llama.cpp: keep the model on this machine"
}

// mayPass gives what goes with the model when it is passed on; the error is a *LicenceError.
func (f *Folder) mayPass() (with string, err error) {
	l := f.Licence
	refuse := func(why string) error { return &LicenceError{f.Source.Model, l.String(), l.Link, why} }
	t, ok := known[strings.ToLower(l.String())]
	switch {
	case ok && t.verdict == "never":
		return "", refuse(t.with)
	case ok:
		return t.with, nil
	case l.ID == "" && f.Source.Kind != source.Hub:
		return "", nil // a model of one's own needs no permission
	case l.ID == "":
		return "", refuse("it states no licence, so nobody but its owner may pass it on")
	}
	return "", refuse("whether it allows changed copies to be passed on is not known here")
}
