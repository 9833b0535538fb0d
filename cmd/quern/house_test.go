package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// layers says which packages of ours a package may import, by prefix. A package takes the longest prefix that matches it.
// What is not listed is nothing.
var layers = map[string][]string{
	"quern/cmd":                 {"quern"},
	"quern/stages":              {"quern/stages", "quern/pipeline", "quern/hfclient", "quern/convert", "quern/quantize"},
	"quern/pipeline":            {"quern/pipeline"},
	"quern/pipeline/batch":      {"quern/pipeline"},
	"quern/hfclient":            {"quern/hfclient"},
	"quern/convert":             {"quern/convert"},
	"quern/convert/fault":       {},
	"quern/convert/safetensors": {},
	"quern/convert/gguf":        {},
	"quern/convert/view":        {"quern/convert/safetensors", "quern/convert/fault"},
	"quern/convert/tokenizer":   {"quern/convert/fault", "quern/convert/tokenizer"},
	"quern/convert/config":      {"quern/convert/fault", "quern/convert/gguf"},
	"quern/quantize":            {"quern/quantize", "quern/convert/gguf", "quern/convert/view", "quern/convert/safetensors"},
	"quern/quantize/policy":     {"quern/convert/gguf", "quern/quantize/policy"},
	"quern/quantize/machine":    {},
	"quern/stages/source":       {"quern/stages/source", "quern/convert", "quern/hfclient"},
}

// Who may import whom of ours, from the toolchain's own list of dependencies.
func TestLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "quern/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		pkg := f[0]
		allowed := layers[rule(pkg)]
		for _, imp := range f[1:] {
			if !strings.HasPrefix(imp, "quern/") {
				continue
			}
			n++
			if !slices.ContainsFunc(allowed, func(p string) bool { return imp == p || strings.HasPrefix(imp, p+"/") }) {
				t.Errorf("%s imports %s: only %v may be imported there", pkg, imp, allowed)
			}
		}
	}
	if n < 20 {
		t.Fatalf("only %d imports were seen", n)
	}
}

func rule(pkg string) string {
	for p := pkg; p != "."; p = filepath.Dir(p) {
		if _, ok := layers[p]; ok {
			return p
		}
	}
	return ""
}

// The rules of the house that a compiler does not hold.
const (
	maxFileLines     = 700
	maxFunctionLines = 120
)

// The manual has the exit codes of the one table, each with its meaning.
func TestHouseExitCodes(t *testing.T) {
	b, err := os.ReadFile("../../docs/receipts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range exits {
		if row := fmt.Sprintf("| %d | %s |", e.Code, e.Meaning); !strings.Contains(string(b), row) {
			t.Errorf("docs/receipts.md lacks %q", row)
		}
	}
	if n := strings.Count(string(b), "\n| "); n != len(exits)+1 { // with the head
		t.Errorf("%d rows, %d codes", n, len(exits))
	}
}

// prints are the packages' calls that belong to cmd alone.
var prints = regexp.MustCompile(`\b(os\.Exit|log\.Fatal\w*|fmt\.Print\w*)\(`)

func TestHouse(t *testing.T) {
	fset := token.NewFileSet()
	docs := map[string]bool{}
	var exported, commented int
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		src, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		isTest := strings.HasSuffix(path, "_test.go")
		generated := ast.IsGenerated(src)
		lines := fset.Position(src.End()).Line
		if lines > maxFileLines && !generated && !dataOnly(src) {
			t.Errorf("%s has %d lines, at most %d", path, lines, maxFileLines)
		}
		if isTest {
			return nil
		}
		docs[dir] = docs[dir] || src.Doc != nil
		inCommand := strings.Contains(dir, "/cmd/") || src.Name.Name == "main"
		for _, decl := range src.Decls {
			e, c := documented(decl)
			exported, commented = exported+e, commented+c
			if e > c {
				t.Errorf("%s: an exported name has no comment", fset.Position(decl.Pos()))
			}
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || generated {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, at most %d", path, fn.Name.Name, n, maxFunctionLines)
			}
			if strings.HasPrefix(fn.Name.Name, "Get") && fn.Name.IsExported() {
				t.Errorf("%s: %s: no Get in names", path, fn.Name.Name)
			}
		}
		if !inCommand {
			ast.Inspect(src, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if s := selector(call); prints.MatchString(s + "(") {
						t.Errorf("%s: %s belongs to cmd", fset.Position(call.Pos()), s)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, ok := range docs {
		if !ok {
			t.Errorf("%s: the package has no comment", dir)
		}
	}
	t.Logf("count: house: %d packages, %d of %d exported names commented", len(docs), commented, exported)
}

func selector(call *ast.CallExpr) string {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + s.Sel.Name
}

// documented counts the exported names of a declaration and those that have a comment, their own or their block's.
func documented(decl ast.Decl) (exported, commented int) {
	count := func(name *ast.Ident, docs ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		exported++
		for _, d := range docs {
			if d != nil {
				commented++
				return
			}
		}
	}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && !receiver(d).IsExported() {
			return 0, 0
		}
		count(d.Name, d.Doc)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				count(s.Name, d.Doc, s.Doc, s.Comment)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					count(n, d.Doc, s.Doc, s.Comment)
				}
			}
		}
	}
	return exported, commented
}

func receiver(d *ast.FuncDecl) *ast.Ident {
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x
		default:
			return ast.NewIdent("x")
		}
	}
}

// dataOnly tells whether a file holds tables alone: no function.
func dataOnly(f *ast.File) bool {
	for _, d := range f.Decls {
		if _, ok := d.(*ast.FuncDecl); ok {
			return false
		}
	}
	return true
}

// The tree of the top level is the data flow and nothing else.
func TestTopLevel(t *testing.T) {
	out, err := exec.Command("git", "-C", "../..", "ls-files").Output()
	if err != nil {
		t.Skip("skipped: not a git checkout: " + err.Error())
	}
	want := []string{"LICENSE", "Makefile", "README.md", "cmd", "convert", "docs", "go.mod", "go.sum", "hfclient", "pipeline", "quantize", "stages"}
	seen := map[string]bool{}
	for line := range bytes.Lines(out) {
		top, _, _ := strings.Cut(strings.TrimSpace(string(line)), "/")
		if strings.HasPrefix(top, ".") || seen[top] {
			continue
		}
		seen[top] = true
		if !slices.Contains(want, top) {
			t.Errorf("%s stands at the top level", top)
		}
	}
}
