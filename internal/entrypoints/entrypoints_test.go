// Package entrypoints checks that the documentation shows how each entry point is used.
package entrypoints

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/sqlsecrets/sqlsecrets"

// exempt has the entry points without an Example, and the reasons.
var exempt = map[string]string{}

// Every exported func of a public package has an Example: an Example with its name, or one that
// calls it. Every type that callers fill in has an Example as well.
func TestEveryEntryPointHasAnExample(t *testing.T) {
	found, err := missing(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		if exempt[name] == "" {
			t.Errorf("%s has no Example", name)
		}
	}
	for name := range exempt {
		if !slices.Contains(found, name) {
			t.Errorf("%s needs no exemption", name)
		}
	}
}

func TestEntryPointsWithoutExamplesAreFound(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	got, err := missing(fstest.MapFS{
		"a/a.go":          file("package a\ntype Options struct{}\ntype Other struct{}\nfunc New() {}\nfunc Used() {}\nfunc Never() {}\nfunc own() {}\nfunc (Other) Method() {}\n"),
		"a/a_test.go":     file("package a_test\nimport b \"" + module + "/a\"\nfunc ExampleNew_more() { b.Used() }\nfunc TestNever() { b.Never() }\n"),
		"internal/i.go":   file("package internal\nfunc Hidden() {}\n"),
		"nested/go.mod":   file("module nested\n"),
		"nested/n.go":     file("package nested\nfunc Elsewhere() {}\n"),
		"cmd/tool/m.go":   file("package main\nfunc Exported() {}\n"),
		"a/testdata/x.go": file("package x\nfunc Data() {}\n"),
	})
	if want := []string{"a.Never", "a.Options"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("missing = %q, %v, want %q", got, err, want)
	}
}

// filledIn matches the names of types that callers fill in.
var filledIn = []string{"Options", "Defaults", "Trace"}

// missing returns the entry points of a module that no Example shows, sorted.
func missing(root fs.FS) (names []string, err error) {
	err = fs.WalkDir(root, ".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); dir != "." && (name == "internal" || name == "testdata" || strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil && dir != "." {
			return fs.SkipDir
		}
		p := folder{path: path.Join(module, dir), entries: map[string]bool{}, shown: map[string]bool{}}
		files, err := fs.Glob(root, path.Join(dir, "*.go"))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := p.read(root, file); err != nil {
				return err
			}
		}
		for name := range p.entries {
			if !p.shown[name] {
				names = append(names, dir+"."+name)
			}
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// A folder has the declarations and the Examples of one package.
type folder struct {
	path    string          // by which it is imported
	entries map[string]bool // entry points
	shown   map[string]bool // names that Examples have or use
}

func (p *folder) read(root fs.FS, name string) error {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil || file.Name.Name == "main" {
		return err
	}
	for _, decl := range file.Decls {
		if !strings.HasSuffix(name, "_test.go") {
			p.declared(decl)
		} else if f, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Example") {
			p.example(file, f)
		}
	}
	return nil
}

// declared notes an entry point.
func (p *folder) declared(decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.IsExported() {
			p.entries[d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if s, ok := spec.(*ast.TypeSpec); ok && slices.Contains(filledIn, s.Name.Name) {
				p.entries[s.Name.Name] = true
			}
		}
	}
}

// example notes the entry points that an Example shows.
func (p *folder) example(file *ast.File, f *ast.FuncDecl) {
	name, _, _ := strings.Cut(strings.TrimPrefix(f.Name.Name, "Example"), "_")
	p.shown[name] = true
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && p.isImported(file, x.Name) {
				p.shown[s.Sel.Name] = true
			}
		}
		return true
	})
}

// isImported reports whether a file imports a package under that name.
func (p *folder) isImported(file *ast.File, name string) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool {
		as := path.Base(p.path)
		if i.Name != nil {
			as = i.Name.Name
		}
		return as == name && strings.Trim(i.Path.Value, `"`) == p.path
	})
}
