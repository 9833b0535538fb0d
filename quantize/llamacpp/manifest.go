package llamacpp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// manifestName is the installer's note beside the libraries.
const manifestName = "quern-runtime.json"

// maxManifest bounds the note: a few dozen file names.
const maxManifest = 1 << 20

// Manifest says what an installed runtime is and how it was verified.
type Manifest struct {
	Version   string            `json:"llama_cpp"`
	Package   string            `json:"package"`
	Integrity string            `json:"integrity"` // SHA-512 of the package as npm writes it; "" when another installer fetched it
	Pinned    bool              `json:"pinned"`    // the digest stands in quern's source
	Files     map[string]string `json:"files"`     // SHA-256 of each library
}

func readManifest(dir string) (*Manifest, error) {
	f, err := os.Open(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("%s: more than %d bytes", manifestName, maxManifest)
	}
	m := new(Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	return m, nil
}

func (m *Manifest) write(dir string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, manifestName), append(b, '\n'), 0o644)
}

// Verify compares every installed library with the digest taken when it was unpacked.
func (m *Manifest) Verify(dir string) error {
	for name, want := range m.Files {
		got, err := fileDigest(filepath.Join(dir, filepath.Base(name)))
		if err != nil {
			return &Error{Fault: Broken, Op: "verify", On: dir, Says: name + " is not readable", Next: "run `quern runtime install --force`", Err: err}
		}
		if got != want {
			return &Error{Fault: Broken, Op: "verify", On: dir, Says: fmt.Sprintf("%s has SHA-256 %.12s..., %.12s... was installed", name, got, want), Next: "run `quern runtime install --force`"}
		}
	}
	return nil
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
