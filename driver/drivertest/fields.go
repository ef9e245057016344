package drivertest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A field is the value at one path of a vendor's configuration.
type field struct {
	text string
	zero bool
}

// Fields are the fields of a configuration, by their paths: "Host", "TLSConfig.ServerName",
// "RuntimeParams[search_path]".
type Fields map[string]field

// FieldsOf reads a vendor's struct, a pointer to one, or a map. It reads unexported fields too, because
// they hold options as well. Of the standard library's structs it reads only tls.Config. Strings are
// quoted. For a function, and for a value that it does not read, the text is only "set".
func FieldsOf(config any) Fields {
	f := Fields{}
	v := reflect.Indirect(reflect.ValueOf(config))
	f.add("", v)
	return f
}

// Text returns the value at a path as text, or "".
func (f Fields) Text(path string) string { return f[path].text }

// Without returns all fields but those at paths. If a path is a map or a slice, all of its elements are
// left out.
func (f Fields) Without(paths ...string) Fields {
	f = maps.Clone(f)
	maps.DeleteFunc(f, func(path string, _ field) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return path == p || strings.HasPrefix(path, p+"[") })
	})
	return f
}

// Since returns how f differs from a former configuration, sorted: `Host="h", Port=1`. A path that f
// does not have any more "is gone".
func (f Fields) Since(former Fields) string {
	var changes []string
	for path, is := range f {
		was, known := former[path]
		if known && is.text != was.text || !known && !is.zero {
			changes = append(changes, path+"="+is.text)
		}
	}
	for path := range former {
		if _, ok := f[path]; !ok && !f.isBelowNil(path) {
			changes = append(changes, path+" is gone")
		}
	}
	slices.Sort(changes)
	return strings.Join(changes, ", ")
}

// isBelowNil reports whether a path leads through a value that is nil in f. The change of that value is
// listed itself.
func (f Fields) isBelowNil(path string) bool {
	for i, c := range path {
		if (c == '.' || c == '[') && f[path[:i]].text == "nil" {
			return true
		}
	}
	return false
}

func (f Fields) set(path, text string, zero bool) { f[path] = field{text, zero} }

func (f Fields) add(path string, v reflect.Value) {
	if v.CanInterface() && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		if s, ok := v.Interface().(fmt.Stringer); ok {
			f.set(path, s.String(), v.IsZero())
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		f.set(path, strconv.Quote(v.String()), v.IsZero())
	case reflect.Bool:
		f.set(path, strconv.FormatBool(v.Bool()), v.IsZero())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if v.Type() == reflect.TypeFor[time.Duration]() { // unexported
			f.set(path, time.Duration(v.Int()).String(), v.IsZero())
			return
		}
		f.set(path, strconv.FormatInt(v.Int(), 10), v.IsZero())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		f.set(path, strconv.FormatUint(v.Uint(), 10), v.IsZero())
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			name := iter.Key().String()
			if path != "" {
				name = path + "[" + name + "]"
			}
			f.add(name, iter.Value())
		}
	case reflect.Slice:
		f.addSlice(path, v)
	case reflect.Struct:
		if !isVendors(v.Type()) {
			return
		}
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			switch {
			case v.Type().Field(i).Anonymous:
				name = path
			case path != "":
				name = path + "." + name
			}
			f.add(name, v.Field(i))
		}
	case reflect.Pointer, reflect.Func, reflect.Interface:
		if v.IsNil() {
			f.set(path, "nil", true)
			return
		}
		f.set(path, "set", false)
		if v.Kind() == reflect.Pointer {
			f.add(path, v.Elem())
		}
	}
}

func (f Fields) addSlice(path string, v reflect.Value) {
	switch v.Type().Elem().Kind() {
	case reflect.String:
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = v.Index(i).String()
		}
		f.set(path, fmt.Sprintf("%q", texts), v.Len() == 0)
		return
	case reflect.Struct:
		if isVendors(v.Type().Elem()) {
			for i := range v.Len() {
				f.add(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
			return
		}
	}
	f.set(path, fmt.Sprintf("%d in it", v.Len()), v.Len() == 0)
}

// isVendors reports whether a type is a vendor's, or tls.Config. The fields of other types of the
// standard library are not read.
func isVendors(t reflect.Type) bool {
	first, _, _ := strings.Cut(t.PkgPath(), "/")
	return strings.Contains(first, ".") || t.PkgPath() == "crypto/tls" && t.Name() == "Config"
}
