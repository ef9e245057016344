package awssm_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// canary is a password that must not appear anywhere.
const canary = `hunter2-canary-Pa55`

// findCanary walks through all values that can be reached from v, including unexported fields. It
// returns the path to a string or byte slice that holds the canary.
func findCanary(v any) string {
	w := walker{seen: map[visit]bool{}}
	w.walk(reflect.ValueOf(v), "", 0)
	return w.found
}

type visit struct {
	p unsafe.Pointer
	t reflect.Type
}

type walker struct {
	seen  map[visit]bool
	found string
}

func (w *walker) walk(v reflect.Value, path string, depth int) {
	if !v.IsValid() || w.found != "" || depth > 200 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		w.look([]byte(v.String()), path)
	case reflect.Pointer:
		if v.IsNil() || w.been(v) {
			return
		}
		w.walk(v.Elem(), path, depth+1)
	case reflect.Interface:
		if !v.IsNil() {
			w.walk(v.Elem(), path+".("+v.Elem().Type().String()+")", depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			w.walk(v.Field(i), path+"."+v.Type().Field(i).Name, depth+1)
		}
	case reflect.Map:
		if v.IsNil() || w.been(v) {
			return
		}
		for it := v.MapRange(); it.Next(); {
			w.walk(it.Key(), path+"[key]", depth+1)
			w.walk(it.Value(), path+"[…]", depth+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.IsNil() {
			return
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			// Check up to the capacity, because the old content of a buffer counts.
			if v.Kind() == reflect.Slice && v.Cap() > 0 {
				v = v.Slice(0, v.Cap())
			}
			b := make([]byte, v.Len())
			for i := range b {
				b[i] = byte(v.Index(i).Uint())
			}
			w.look(b, path)
			return
		}
		if v.Kind() == reflect.Slice && (v.Len() == 0 || w.been(v)) {
			return
		}
		for i := range v.Len() {
			w.walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
	}
}

func (w *walker) been(v reflect.Value) bool {
	k := visit{v.UnsafePointer(), v.Type()}
	if w.seen[k] {
		return true
	}
	w.seen[k] = true
	return false
}

func (w *walker) look(b []byte, path string) {
	if bytes.Contains(b, []byte(canary)) {
		w.found = path
	}
}

// checkNoLeak fails the test if an error, or a printed form of it, holds the canary.
func checkNoLeak(t *testing.T, err error) {
	t.Helper()
	if path := findCanary(err); path != "" {
		t.Errorf("the password is in the error's tree at %s", path)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if s := fmt.Sprintf(verb, err); strings.Contains(s, canary) || strings.Contains(s, fmt.Sprintf("%x", canary)) {
			t.Errorf("the password is in %s: %s", verb, s)
		}
	}
}
