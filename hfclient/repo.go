package hfclient

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	repoName   = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$`)
	commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Name = regexp.MustCompile(`^[0-9a-f]{64}$`)
	drive      = regexp.MustCompile(`^[A-Za-z]:`)
)

const (
	maxName     = 4096 // bytes of a file name in a repo, the longest path of common systems
	maxRevision = 255  // bytes of a branch or tag, git's own practical bound
)

// CheckRepo reports why id cannot be a repo id: `name` or `org/name` of letters, digits, `-`, `_` and `.`.
func CheckRepo(id string) error {
	says := ""
	parts := strings.Split(id, "/")
	switch {
	case id == "":
		says = "empty repo id"
	case len(parts) > 2:
		says = "a repo id has at most one \"/\""
	case strings.Contains(id, "--"), strings.Contains(id, ".."):
		says = "a repo id has no \"--\" and no \"..\""
	case strings.HasSuffix(id, ".git"):
		says = "a repo id does not end in \".git\""
	case len(id) > 96:
		says = fmt.Sprintf("%d characters, a repo id has at most 96", len(id))
	default:
		for _, p := range parts {
			if !repoName.MatchString(p) {
				says = fmt.Sprintf("%q is not a repo name", p)
			}
		}
	}
	if says == "" {
		return nil
	}
	return &Error{Kind: ErrInvalid, On: id, Says: says, Next: "write the repo as org/name, as in its address on the Hub"}
}

// ParseRef splits `org/name@revision`. Without a revision it is "main".
func ParseRef(s string) (repo, revision string, err error) {
	repo, revision, found := strings.Cut(s, "@")
	if !found {
		revision = "main"
	}
	if err := CheckRepo(repo); err != nil {
		return "", "", err
	}
	return repo, revision, checkRevision(repo, revision)
}

// checkRevision keeps a revision usable as a path below refs/ and as one escaped path segment.
func checkRevision(repo, rev string) error {
	if rev == "" || len(rev) > maxRevision || cleanName(rev) != nil || strings.ContainsAny(rev, " ~^:?*[") {
		return &Error{Kind: ErrInvalid, On: repo, Says: fmt.Sprintf("%q cannot be a revision", rev),
			Next: "give a branch, a tag or a full commit after the @"}
	}
	return nil
}

// cleanName reports why a name from the network must not become a path below a folder of ours.
func cleanName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("file name of %d bytes", len(name))
	}
	if drive.MatchString(name) || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("file name %q is not relative on every system", name)
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r == 0xfffd {
			return fmt.Errorf("file name %q holds a control or a broken character", name)
		}
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("file name %q leaves its folder", name)
		}
	}
	return nil
}
