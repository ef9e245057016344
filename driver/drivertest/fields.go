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

// A field is what a vendor's configuration holds at one place.
type field struct {
	text string
	zero bool
}

// Fields are a configuration's, by their paths: "Host", "TLSConfig.ServerName",
// "RuntimeParams[search_path]".
type Fields map[string]field

// FieldsOf reads a struct of a vendor's, or a pointer to one, or a map: unexported fields
// too, which hold options as well, and of the standard library's types a TLS
// configuration. Strings are quoted. Of a function, and of what is not looked into, it
// says only that it is set.
func FieldsOf(config any) Fields {
	f := Fields{}
	v := reflect.Indirect(reflect.ValueOf(config))
	f.add("", v)
	return f
}

// Text returns what is at a path.
func (f Fields) Text(path string) string { return f[path].text }

// Without returns all fields but those at paths; of a map or a slice all its elements.
func (f Fields) Without(paths ...string) Fields {
	f = maps.Clone(f)
	maps.DeleteFunc(f, func(path string, _ field) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return path == p || strings.HasPrefix(path, p+"[") })
	})
	return f
}

// Since says how f differs from a former configuration: "Host="h", Port=1", sorted. What
// is no longer there is "gone".
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

// isBelowNil reports whether a path leads through what is nil in f, which says so itself.
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

// isVendors reports whether a type is a vendor's or one of crypto/tls: not one of the
// rest of the standard library, of which only the fact that it is there counts.
func isVendors(t reflect.Type) bool {
	first, _, _ := strings.Cut(t.PkgPath(), "/")
	return strings.Contains(first, ".") || t.PkgPath() == "crypto/tls" && t.Name() == "Config"
}
