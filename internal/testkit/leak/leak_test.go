package leak_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
)

type node struct {
	next *node
	any  any
}

func TestFind(t *testing.T) {
	loop := &node{}
	loop.next = loop
	for _, v := range []any{
		"a canary", []byte("canary"), []byte("canary")[:0], [1]string{"canary"},
		errors.New("a canary"), fmt.Errorf("x: %w", errors.New("canary")), errors.Join(errors.New("x"), errors.New("canary")),
		&node{any: []byte("canary")}, node{any: &node{any: "canary"}}, map[string]any{"x": &node{any: "canary"}},
		map[node]int{{any: "canary"}: 1}, []node{{any: [1]string{"canary"}}}, &node{next: loop, any: "canary"},
	} {
		if leak.Find(v, "canary") == "" {
			t.Errorf("not found in %#v", v)
		}
	}
	for _, v := range []any{nil, "a bird", errors.New("a bird"), loop, func() string { return "canary" }, 7} {
		if path := leak.Find(v, "canary"); path != "" {
			t.Errorf("found in %#v at %s", v, path)
		}
	}
}
