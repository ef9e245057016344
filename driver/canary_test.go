package driver_test

import (
	"bytes"
	"context"
	sqldriver "database/sql/driver"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// printed returns all forms in which a careless caller may print v.
func printed(v any) []string {
	forms := []string{fmt.Sprint(v)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T"} {
		forms = append(forms, fmt.Sprintf(verb, v))
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		b, err := marshal(v)
		forms = append(forms, string(b))
		if err != nil {
			forms = append(forms, err.Error())
		}
	}
	for _, h := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(h(&b)).Info("x", "v", v, "pointer", &v, "group", slog.GroupValue(slog.Any("v", v)))
		forms = append(forms, b.String())
	}
	return forms
}

const canary = "c4n4ry-p4ssw0rd"

// A catcher searches values for the canary.
type catcher struct {
	t  *testing.T
	mu sync.Mutex
	n  int
}

func (c *catcher) check(what string, v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	for _, form := range printed(v) {
		if strings.Contains(form, canary) {
			c.t.Errorf("%s prints the password: %s", what, form)
		}
	}
	if p := leak.Find(v, canary); p != "" {
		c.t.Errorf("%s holds the password at %s", what, p)
	}
}

func (c *catcher) options(b *bench, logs *bytes.Buffer) {
	debug := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	b.opts.Logger = slog.New(multiHandler{slog.NewTextHandler(logs, debug), slog.NewJSONHandler(logs, debug)})
	b.opts.Trace = &driver.Trace{
		SecretDone:  func(_ context.Context, i driver.SecretInfo) { c.check("SecretInfo", i) },
		RefreshDone: func(_ context.Context, i driver.RefreshInfo) { c.check("RefreshInfo", i) },
		LoginStart:  func(_ context.Context, i driver.LoginInfo) { c.check("LoginInfo", i) },
		LoginDone:   func(_ context.Context, i driver.LoginInfo) { c.check("LoginInfo", i) },
		ConnectDone: func(_ context.Context, i driver.ConnectInfo) { c.check("ConnectInfo", i) },
	}
}

type multiHandler []slog.Handler

func (m multiHandler) Enabled(context.Context, slog.Level) bool { return true }
func (m multiHandler) Handle(ctx context.Context, r slog.Record) error {
	for _, h := range m {
		if err := h.Handle(ctx, r.Clone()); err != nil {
			return err
		}
	}
	return nil
}
func (m multiHandler) WithAttrs(as []slog.Attr) slog.Handler {
	n := multiHandler{}
	for _, h := range m {
		n = append(n, h.WithAttrs(as))
	}
	return n
}
func (m multiHandler) WithGroup(name string) slog.Handler {
	n := multiHandler{}
	for _, h := range m {
		n = append(n, h.WithGroup(name))
	}
	return n
}

// No way to connect or to fail shows the password.
func TestNoPasswordLeaks(t *testing.T) {
	rejected := &vendorError{codeRejected, "access denied"}
	for _, test := range []struct {
		name, dsn, value string
		fault            func(ctx context.Context, l *login) error
		source           func(ctx context.Context, stage string) error
		prepare          func(driver.Endpoint) error
		limit            time.Duration
		ok, panics       bool
	}{
		{name: "success", ok: true},
		{name: "rejected", fault: always(rejected)},
		{name: "rejected, pending too", dsn: "prod/app?fallback=AWSPENDING,AWSPREVIOUS,NONE", fault: always(rejected)},
		{name: "rejected, source down", fault: always(rejected), source: func(_ context.Context, stage string) error { return secretcache.ErrThrottled }},
		{name: "rejected, denied", fault: always(rejected), source: func(_ context.Context, stage string) error {
			if stage != "AWSCURRENT" {
				return secretcache.ErrAccessDenied
			}
			return nil
		}},
		{name: "rejected, window", dsn: "prod/app?rotationWindow=10s", fault: always(rejected)},
		{name: "rejected, deadline", dsn: "prod/app?rotationWindow=10s", fault: always(rejected), limit: time.Second},
		{name: "network", fault: always(errors.New("connection refused"))},
		{name: "bad connection", fault: always(sqldriver.ErrBadConn)},
		{name: "hang", fault: hang},
		{name: "hang, deadline", fault: hang, limit: time.Second},
		{name: "source hangs", source: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }, limit: time.Second},
		{name: "panic", fault: func(context.Context, *login) error { panic("vendor bug") }, panics: true},
		{name: "prepare", prepare: func(driver.Endpoint) error { return errors.New("no such file") }},
		{name: "not JSON", value: canary},
		{name: "cut short", value: `{"host":"h","username":"u","password":"` + canary},
		{name: "no host", value: `{"username":"u","password":"` + canary + `"}`},
		{name: "password elsewhere", value: `{"host":"` + canary + `?","username":"u","password":"p"}`},
		{name: "password as port", value: `{"host":"h","port":"` + canary + `","username":"u","password":"p"}`},
		{name: "password as engine", value: `{"host":"h","engine":"` + canary + `","username":"u","password":"p"}`},
		{name: "password as dbname", value: `{"host":"h","dbname":"` + canary + `#","username":"u","password":"p"}`},
		{name: "password in an array", value: `{"host":"h","username":"u","password":["` + canary + `"]}`},
		{name: "NUL", value: `{"host":"h","username":"u","password":"` + canary + `\u0000"}`},
		{name: "wrong key", dsn: "prod/app?passwordKey=secret", value: `{"host":"h","username":"u","password":"` + canary + `"}`},
		{name: "another engine", value: `{"host":"h","engine":"oracle","username":"u","password":"` + canary + `"}`},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			c := &catcher{t: t}
			var logs bytes.Buffer
			b := newBench(t, func(b *bench, dsn *string) {
				if test.dsn != "" {
					*dsn = test.dsn
				}
				value := test.value
				if value == "" {
					value = credentials("app", canary)
					b.store.put("v0", credentials("app", canary+"0"), "AWSPREVIOUS")
					b.store.put("v2", credentials("app", canary+"2"), "AWSPENDING")
				}
				b.store.put("v1", value, "AWSCURRENT")
				b.db.set("app", canary)
				b.db.fault = test.fault
				b.engine.prepare = test.prepare
				c.options(b, &logs)
			})
			if test.source != nil && test.name != "source hangs" {
				if _, err := b.cache.Get(t.Context(), "prod/app", ""); err != nil {
					t.Fatal(err)
				}
			}
			b.store.setFault(test.source)
			ctx, cancel := context.WithCancel(t.Context())
			if test.limit > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), test.limit)
			}
			defer cancel()
			func() {
				defer func() {
					if r := recover(); r != nil || test.panics {
						c.check("panic", r)
					}
				}()
				err := b.ping(ctx)
				if (err == nil) != test.ok {
					t.Errorf("got %v", err)
				}
				c.check("error", err)
				for e := range tree(err) {
					c.check("error in the tree", e)
				}
			}()
			synctest.Wait() // for the goroutine of the resolution
			if strings.Contains(logs.String(), canary) {
				t.Errorf("the log has the password:\n%s", logs.String())
			}
			if c.n == 0 {
				t.Error("nothing was checked")
			}
			// For verbs like %s, fmt prints the value that a nested pointer points to.
			_ = b.cache.Close()
			synctest.Wait()
			for _, v := range []any{b.Connector, b.Driver(), *b.Driver().(*driver.Driver), b.opts, &b.opts} {
				for _, form := range printed(v) {
					if strings.Contains(form, canary) {
						t.Errorf("%T prints the password: %s", v, form)
					}
				}
			}
		})
	}
}

// tree yields err and all errors that it wraps.
func tree(err error) func(yield func(error) bool) {
	return func(yield func(error) bool) {
		var walk func(error) bool
		walk = func(err error) bool {
			if err == nil || !yield(err) {
				return err == nil
			}
			switch e := err.(type) {
			case interface{ Unwrap() error }:
				return walk(e.Unwrap())
			case interface{ Unwrap() []error }:
				for _, err := range e.Unwrap() {
					if !walk(err) {
						return false
					}
				}
			}
			return true
		}
		walk(err)
	}
}

func TestPrintedForms(t *testing.T) {
	password := driver.NewPassword(canary)
	if got := password.Reveal(); got != canary {
		t.Errorf("Reveal() = %q", got)
	}
	if got := (driver.Password{}).Reveal(); got != "" {
		t.Errorf("zero Password reveals %q", got)
	}
	c := &catcher{t: t}
	type holder struct {
		Password driver.Password
		pointer  *driver.Password
		hidden   driver.Password
		Any      any
	}
	for _, v := range []any{
		password, &password, []driver.Password{password}, map[string]driver.Password{"x": password},
		holder{password, &password, password, password}, &holder{password, &password, password, &password},
		driver.Endpoint{Host: "h"}, driver.URL{SecretID: "s"}, driver.Info{Name: "x"}, driver.Location{Region: "x"},
		driver.SecretInfo{}, driver.RefreshInfo{}, driver.LoginInfo{}, driver.ConnectInfo{}, driver.Trace{}, driver.Options{},
		&driver.Error{Op: "x", Err: errors.New("y")}, driver.Error{Op: "x"},
	} {
		c.check(fmt.Sprintf("%T", v), v)
	}
	for _, form := range printed(password) {
		if form != "" && !strings.Contains(form, "redacted") && !strings.Contains(form, "driver.Password") {
			t.Errorf("a Password prints as %q", form)
		}
	}

	b := newBench(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		if got := fmt.Sprintf(verb, b.Connector); got != "secretsmanager-mysql prod/app" {
			t.Errorf("Connector prints as %q with %s", got, verb)
		}
		if got := fmt.Sprintf(verb, b.Driver()); got != "secretsmanager-mysql" {
			t.Errorf("Driver prints as %q with %s", got, verb)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "connector", b.Connector)
	if !strings.Contains(log.String(), `"secretsmanager-mysql prod/app"`) {
		t.Errorf("a Connector logs as %s", log.String())
	}
}
