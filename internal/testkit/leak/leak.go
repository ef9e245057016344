// Package leak searches values for a marked password. Tests use it to check that nothing shows a
// password.
package leak

import (
	"fmt"
	"reflect"
	"strings"
)

// Walk calls f for v and for every value that can be reached from it, including unexported fields,
// with the path to the value. f gets bytes as a string.
func Walk(v any, f func(path string, v reflect.Value)) {
	w := walker{f, map[visit]bool{}}
	w.walk("", reflect.ValueOf(v))
}

// Find returns the path to a string or to bytes in v that contain text, or "" if there are none.
func Find(v any, text string) string {
	found := ""
	Walk(v, func(path string, v reflect.Value) {
		if v.Kind() == reflect.String && strings.Contains(v.String(), text) {
			found = path + " (" + v.Type().String() + ")"
		}
	})
	return found
}

type walker struct {
	f    func(string, reflect.Value)
	seen map[visit]bool
}

type visit struct {
	p uintptr
	t reflect.Type
}

func (w *walker) walk(path string, v reflect.Value) {
	if !v.IsValid() {
		return
	}
	w.f(path, v)
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			at := visit{v.Pointer(), v.Type()}
			if w.seen[at] {
				return
			}
			w.seen[at] = true
		}
		w.walk(path, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			w.walk(path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
			// Up to the capacity, because bytes that were cut off are still there.
			w.f(path, reflect.ValueOf(string(v.Slice(0, v.Cap()).Bytes())))
			return
		}
		for i := range v.Len() {
			w.walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			w.walk(path+" key", iter.Key())
			w.walk(path+" value", iter.Value())
		}
	}
}
