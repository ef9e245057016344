package driver_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// vocabulary has all texts that errors about data source names and secrets consist of. A value that happens
// to be one of these words is not a leak.
var vocabulary = sync.OnceValue(func() string {
	var b strings.Builder
	for _, test := range badDSNs {
		e := newEngine("mysql", nil)
		e.allowed = []string{"app"}
		if _, err := driver.NewConnector(e, test.dsn, &driver.Options{Secrets: secretsFunc(nil)}); err != nil {
			b.WriteString(err.Error() + "\n")
		}
	}
	for _, name := range []string{"postgres", "redshift", "oracle", "sqlserver", "db2"} {
		if _, err := open(newEngine("mysql", nil), "prod/app", `{"engine":"`+name+`"}`); err != nil {
			b.WriteString(err.Error() + "\n")
		}
	}
	for _, test := range badSecrets {
		if _, err := open(newEngine("mysql", nil), "prod/app", test.secret); err != nil {
			b.WriteString(err.Error() + "\n")
		}
	}
	return b.String()
})

// FuzzDSN checks that a data source name means the same after it was formatted and parsed again, and that no
// error quotes an id or a value.
func FuzzDSN(f *testing.F) {
	for _, test := range goodDSNs {
		f.Add(test.dsn)
	}
	for _, test := range badDSNs {
		f.Add(test.dsn)
	}
	f.Fuzz(func(t *testing.T, dsn string) {
		e := newEngine("mysql", nil)
		e.allowed = []string{"app", "x"}
		parsed, canonical, err := driver.ParseDSN(e, dsn)
		if err != nil {
			var typed *driver.Error
			if !errors.As(err, &typed) || typed.SecretID != "" ||
				!errors.Is(err, driver.ErrBadDSN) && !errors.Is(err, driver.ErrEngineMismatch) {
				t.Errorf("%q: %#v", dsn, err)
			}
			id, query, _ := strings.Cut(dsn, "?")
			values, keys := []string{id, strings.TrimPrefix(id, "jdbc-secretsmanager:")}, vocabulary()
			for pair := range strings.SplitSeq(query, "&") {
				key, value, _ := strings.Cut(pair, "=")
				decoded, _ := url.PathUnescape(value)
				values, keys = append(values, value, decoded), keys+"\n"+key
			}
			for _, v := range values {
				if len(v) >= 6 && strings.Contains(err.Error(), v) && !strings.Contains(keys, v) {
					t.Errorf("%q: error %q quotes %q", dsn, err, v)
				}
			}
			return
		}
		if dsn == "" {
			t.Fatal("the empty data source name is accepted")
		}
		again, same, err := driver.ParseDSN(e, canonical)
		if err != nil {
			if strings.HasPrefix(dsn, "jdbc-secretsmanager:") {
				return // in a URL, the engine may allow a host that is not allowed elsewhere
			}
			t.Fatalf("%q: formatted as %q: %v", dsn, canonical, err)
		}
		if !reflect.DeepEqual(parsed, again) || canonical != same {
			t.Errorf("%q: formatted as %q, and then as %q", dsn, canonical, same)
		}
	})
}

// FuzzSecretJSON checks that a secret either is an error that quotes no value, or has a server and
// credentials.
func FuzzSecretJSON(f *testing.F) {
	f.Add(fullSecret)
	for _, test := range badSecrets {
		if len(test.secret) < 1000 { // minimizing long ones would take all the time
			f.Add(test.secret)
		}
	}
	if data, err := os.ReadFile("testdata/secrets.json"); err == nil {
		var rows []struct{ Secret string }
		if err := json.Unmarshal(data, &rows); err != nil {
			f.Fatal(err)
		}
		for _, row := range rows {
			f.Add(row.Secret)
		}
	}
	f.Fuzz(func(t *testing.T, secret string) {
		r, err := open(newEngine("mysql", nil), "prod/app", secret)
		if err != nil {
			if !errors.Is(err, driver.ErrMalformedSecret) && !errors.Is(err, driver.ErrEngineMismatch) {
				t.Errorf("%q: %v", secret, err)
			}
			for _, v := range valuesOf(secret) {
				if strings.Contains(err.Error(), v) && !strings.Contains(vocabulary(), v) {
					t.Errorf("%q: error %q quotes %q", secret, err, v)
				}
			}
			return
		}
		ep := r.endpoint
		if ep.Port < 1 || ep.Port > 65535 || r.user == "" || r.password == "" {
			t.Errorf("%q: port %d, user %q, password of %d bytes", secret, ep.Port, r.user, len(r.password))
		}
		if strings.ContainsAny(ep.Host, " ?#/@;&='\"\\,[]<>\x00\n") || ep.Host == "" || len(ep.Host) > 255 {
			t.Errorf("%q: host %q", secret, ep.Host)
		}
		if strings.Contains(ep.Host, ":") {
			if _, err := netip.ParseAddr(ep.Host); err != nil {
				t.Errorf("%q: host %q: %v", secret, ep.Host, err)
			}
		}
	})
}
