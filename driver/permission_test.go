package driver

import "testing"

// Only the resolution may send a rejected version, after the pause. A call that needs an accepted
// version may not send one whose verdict is unknown.
func TestPermissions(t *testing.T) {
	for _, c := range []struct {
		about    string
		outcomes []outcome // of earlier logins
		want     map[permission]bool
	}{
		{"unknown", nil, map[permission]bool{ifAccepted: false, unlessRejected: true, always: true}},
		{"failed", []outcome{failed}, map[permission]bool{ifAccepted: false, unlessRejected: true, always: true}},
		{"abandoned", []outcome{abandoned}, map[permission]bool{ifAccepted: false, unlessRejected: true, always: true}},
		{"accepted", []outcome{accepted}, map[permission]bool{ifAccepted: true, unlessRejected: true, always: true}},
		{"accepted, then failed", []outcome{accepted, failed}, map[permission]bool{ifAccepted: true, unlessRejected: true, always: true}},
		{"rejected", []outcome{rejected}, map[permission]bool{ifAccepted: false, unlessRejected: false, always: true}},
		{"accepted, then rejected", []outcome{accepted, rejected}, map[permission]bool{ifAccepted: false, unlessRejected: false, always: true}},
		{"rejected, then failed", []outcome{rejected, failed}, map[permission]bool{ifAccepted: false, unlessRejected: false, always: true}},
		{"rejected, then accepted", []outcome{rejected, accepted}, map[permission]bool{ifAccepted: true, unlessRejected: true, always: true}},
	} {
		key, other := loginKey{"db:1", "v1"}, loginKey{"db:2", "v1"}
		g := newGate(0)
		for _, o := range c.outcomes {
			tk, ok, err := g.enter(t.Context(), key, always)
			if !ok || err != nil {
				t.Fatalf("%s: enter = %v, %v", c.about, ok, err)
			}
			g.leave(tk, o, pauseBase, nil)
		}
		for p, want := range c.want {
			if tk, ok, err := g.enter(t.Context(), key, p); ok != want || err != nil {
				t.Errorf("%s: permission %d: enter = %v, %v, want %v", c.about, p, ok, err, want)
			} else if ok {
				g.leave(tk, failed, pauseBase, nil)
			}
		}
		if _, ok, _ := g.enter(t.Context(), other, unlessRejected); !ok {
			t.Errorf("%s: it holds the version back at another address", c.about)
		}
	}
}
