package drivertest

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type inner struct{ Port int }

type embedded struct{ Name string }

type config struct {
	embedded
	Host    string
	Servers []inner
	List    []string
	TLS     *tls.Config
	Dial    func()
	Params  map[string]string
	Wait    time.Duration
	Zone    *time.Location
	when    time.Time
	wait    time.Duration
	on      bool
}

func TestSince(t *testing.T) {
	for _, c := range []struct {
		name, want string
		a, b       config
	}{
		{"nothing", "", config{}, config{}},
		{"strings", `Host="b", Name="c"`, config{Host: "a"}, config{Host: "b", embedded: embedded{"c"}}},
		{"to zero", `Host="", Wait=0s`, config{Host: "a", Wait: time.Second}, config{}},
		{"unexported", "on=true, wait=2s", config{}, config{wait: 2 * time.Second, on: true}},
		{"slices", `List=["a" "b"], Servers[1].Port=2`, config{Servers: []inner{{1}}}, config{Servers: []inner{{1}, {2}}, List: []string{"a", "b"}}},
		{"one element fewer", `Servers[1].Port is gone`, config{Servers: []inner{{1}, {2}}}, config{Servers: []inner{{1}}}},
		{"maps", `Params[b]="2", Params[c] is gone`, config{Params: map[string]string{"a": "1", "b": "1", "c": "1"}}, config{Params: map[string]string{"a": "1", "b": "2"}}},
		{"a pointer set", `TLS.ServerName="h", TLS=set`, config{}, config{TLS: &tls.Config{ServerName: "h"}}},
		{"a pointer unset", `TLS=nil`, config{TLS: &tls.Config{ServerName: "h"}}, config{}},
		{"behind a pointer", `TLS.InsecureSkipVerify=true`, config{TLS: &tls.Config{ServerName: "h"}}, config{TLS: &tls.Config{ServerName: "h", InsecureSkipVerify: true}}},
		{"a function", `Dial=set`, config{}, config{Dial: func() {}}},
		{"what prints itself", `Zone=UTC`, config{}, config{Zone: time.UTC}},
		{"not read", "", config{}, config{when: time.Unix(1, 0)}},
	} {
		if got := FieldsOf(c.b).Since(FieldsOf(&c.a)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	m := FieldsOf(map[string]string{"HOST": "h", "PORT": "1"})
	if got := m.Without("PORT").Since(FieldsOf(map[string]string{"PORT": "2"}).Without("PORT")); got != `HOST="h"` {
		t.Errorf("a map: %s", got)
	}
}

func TestTable(t *testing.T) {
	guide := filepath.Join(t.TempDir(), "guide.md")
	if err := os.WriteFile(guide, []byte(`
| parameters | notes |
|---|---|
| `+"`a`, `b` with `c`"+` | `+"`not one`"+` |
| `+"`x_*`"+` | |
| refused | `+"`r`"+`, since |

| property | becomes |
|---|---|
| `+"`user`"+` | the id |
| `+"`ssl=true`, `ssl`"+` | |
`), 0o600); err != nil {
		t.Fatal(err)
	}
	same := func(name string) string { return name }
	params, property := page{guide, "parameters", strings.ToLower}, page{guide, "property", same}
	all := Cases(`
		a=1&b=2 => A=1
		C=3 =>

		x_1=1 =>
		r=1 => error: no
	`)
	for _, c := range []struct {
		name  string
		table page
		cases []Case
		known []string
		want  string // parts of the error; empty: none
	}{
		{"all", params, all, []string{"a", "R"}, ""},
		{"a row without a case", params, all[1:], nil, "no case of a|no case of b"},
		{"a refused one without a case", params, all[:3], nil, "no case of r"},
		{"a family without a case", params, append(Cases("r=1 => error: no"), all[:2]...), nil, "no case of x_*"},
		{"a case without a row", params, append(Cases("d=1 =>"), all...), nil, "no row for d"},
		{"an error without a row", params, append(Cases("d=1 => error: no"), all...), nil, ""},
		{"a rule without a case", params, all, []string{"y"}, "no case of y"},
		{"values", property, Cases("ssl=true =>\nssl =>"), nil, ""},
		{"another value", property, Cases("ssl=1 =>"), nil, "no case of ssl=true"},
		{"no such table", page{guide, "none", same}, nil, nil, "no table"},
		{"no such file", page{guide + "x", "", same}, nil, nil, "no such file"},
	} {
		err := c.table.check(c.cases, c.known)
		if (err == nil) != (c.want == "") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
			continue
		}
		for want := range strings.SplitSeq(c.want, "|") {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", c.name, err, want)
			}
		}
	}
}
