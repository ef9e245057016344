package awscaching_test

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"strings"
	"testing"
)

// added are the names that our package exports in addition, with the reason.
var added = map[string]string{
	"InvalidConfigError.Unwrap":    "all errors have it",
	"InvalidOperationError.Unwrap": "all errors have it",
	"VersionNotFoundError.Unwrap":  "the service's error is reachable",
}

// Each exported name of AWS's package is also exported by ours, and is the same: the value of a
// constant, the signature of a function or method, the type of a field. Names of parameters may
// differ.
func TestExportedNamesAreThoseOfAWS(t *testing.T) {
	exports := map[string]string{}
	format := "{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}"
	for _, line := range strings.Fields(string(goTool(t, ".", "list", "-export", "-deps", "-f", format, upstream, ours))) {
		path, file, _ := strings.Cut(line, "=")
		exports[path] = file
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	names := map[string]map[string]string{}
	for _, path := range []string{upstream, ours} {
		pkg, err := imports.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		names[path] = describe(pkg)
	}
	for name, want := range names[upstream] {
		if got, ok := names[ours][name]; !ok {
			t.Errorf("%s is missing: %s", name, want)
		} else if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for name, got := range names[ours] {
		_, theirs := names[upstream][name]
		if _, ok := added[name]; !theirs && !ok {
			t.Errorf("%s is not AWS's: %s", name, got)
		}
	}
	for name, why := range added {
		if _, ok := names[ours][name]; !ok {
			t.Errorf("%s is missing: %s", name, why)
		}
	}
	t.Logf("%d exported names of AWS's client are ours, %d are added", len(names[upstream]), len(added))
}

// describe returns a description of each exported name of pkg, and of the fields and methods of its
// types as T.Name.
func describe(pkg *types.Package) map[string]string {
	names := map[string]string{}
	of := func(t types.Type) string {
		return types.TypeString(t, func(p *types.Package) string {
			if p == pkg {
				return "secretcache"
			}
			return p.Path()
		})
	}
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.Const:
			names[name] = fmt.Sprintf("const %s = %s", of(object.Type()), object.Val().ExactString())
		case *types.TypeName:
			switch u := object.Type().Underlying().(type) {
			case *types.Struct:
				names[name] = "struct"
				addFields(names, name, u, of)
			case *types.Interface:
				names[name] = "interface"
			default:
				names[name] = "type " + of(u)
			}
			addMethods(names, name, object.Type(), of)
		default:
			names[name] = fmt.Sprintf("%T %s", object, unnamed(object.Type(), of))
		}
	}
	return names
}

// addFields adds the exported fields of a struct, including those of an embedded struct that is not
// exported.
func addFields(names map[string]string, name string, s *types.Struct, of func(types.Type) string) {
	for i := range s.NumFields() {
		f := s.Field(i)
		if f.Exported() {
			names[name+"."+f.Name()] = fmt.Sprintf("field %s, embedded %v, tag %q", of(f.Type()), f.Embedded(), s.Tag(i))
		} else if inner, ok := f.Type().Underlying().(*types.Struct); ok && f.Embedded() {
			addFields(names, name, inner, of)
		}
	}
}

// addMethods adds the exported methods of t and of a pointer to t.
func addMethods(names map[string]string, name string, t types.Type, of func(types.Type) string) {
	pointer := t
	if !types.IsInterface(t) {
		pointer = types.NewPointer(t)
	}
	onValue := types.NewMethodSet(t)
	for m := range types.NewMethodSet(pointer).Methods() {
		if f := m.Obj(); f.Exported() {
			names[name+"."+f.Name()] = fmt.Sprintf("method %s, of a value %v", unnamed(m.Type(), of), onValue.Lookup(f.Pkg(), f.Name()) != nil)
		}
	}
}

// unnamed returns a signature without the names of the parameters.
func unnamed(t types.Type, of func(types.Type) string) string {
	s, ok := t.(*types.Signature)
	if !ok {
		return of(t)
	}
	list := func(t *types.Tuple) (l []string) {
		for v := range t.Variables() {
			l = append(l, of(v.Type()))
		}
		return l
	}
	return fmt.Sprintf("func(%s; variadic %v) (%s)", strings.Join(list(s.Params()), ", "), s.Variadic(), strings.Join(list(s.Results()), ", "))
}
