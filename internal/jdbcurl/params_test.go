package jdbcurl_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

func TestParams(t *testing.T) {
	upper := func(v string) (string, error) { return strings.ToUpper(v), nil }
	fails := func(string) (string, error) { return "", errors.New("no counterpart") }
	check := func(param, value string) error {
		if value == "BAD" {
			return errors.New("it has to be good")
		}
		return nil
	}
	p := jdbcurl.Params{Plain: strings.ToLower}
	for _, c := range []struct{ got, want error }{
		{p.Set("a", "A", "1"), nil},
		{p.Set("b", "a", "2"), errors.New(`properties "a" and "b" are the same`)},
		{p.Translate("c", "x", "C", upper, check), nil},
		{p.Translate("d", "", "D", nil, nil), nil},
		{p.Translate("e", "", "E", upper, check), nil}, // sets nothing
		{p.Translate("f", "bad", "F", upper, check), errors.New(`property "f": it has to be good`)},
		{p.Translate("g", "x", "G", fails, check), errors.New(`property "g": no counterpart`)},
		{p.Translate("h", "x", "c", nil, check), errors.New(`properties "c" and "h" are the same`)},
	} {
		if (c.got == nil) != (c.want == nil) || c.got != nil && c.got.Error() != c.want.Error() {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	if want := map[string]string{"A": "1", "C": "X", "D": ""}; !maps.Equal(p.Values, want) {
		t.Errorf("got %q, want %q", p.Values, want)
	}
}
