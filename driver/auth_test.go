package driver_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

func TestATokenBringsItsUser(t *testing.T) {
	for name, secret := range map[string]string{
		"instead of the secret's":         credentials("app", "not used"),
		"for a secret without":            `{"host":"db.example.com"}`,
		"and no password that is no text": `{"host":"db.example.com","username":"app","password":7}`,
	} {
		inBubble(t, name, func(t *testing.T) {
			_, tokens := withTokens(func(m *mint) { m.user = "IAMR:app" })
			b := newBench(t, tokens, func(b *bench, _ *string) { b.store.put("v1", secret, "AWSCURRENT") })
			b.mustPing(t)
			wantEqual(t, "user", b.db.log()[0].user, "IAMR:app")
			wantEqual(t, "password", b.db.log()[0].password, "token-1")
		})
	}
}

func TestATokenNeedsAUserAndAText(t *testing.T) {
	for name, tt := range map[string]struct {
		secret string
		token  driver.Token
		want   string
	}{
		"no user": {`{"host":"db.example.com"}`, driver.Token{Password: driver.NewPassword("x")},
			"neither the secret nor Options.Token names a user: add a user to the secret, or set Token.User"},
		"no token": {`{"host":"db.example.com","username":"app"}`, driver.Token{}, "Options.Token returned an empty token"},
	} {
		inBubble(t, name, func(t *testing.T) {
			b := newBench(t, func(b *bench, _ *string) {
				b.store.put("v1", tt.secret, "AWSCURRENT")
				b.opts.Token = func(context.Context, driver.TokenRequest) (driver.Token, error) { return tt.token, nil }
			})
			if err := b.ping(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want …%s", err, tt.want)
			}
			b.wantLogins(t, 0, 0)
		})
	}
}

// A token without Expires is only for the calls that wait for it together.
func TestATokenWithoutAnEndIsNotReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := newBench(t, func(b *bench, _ *string) {
			b.opts.Token = func(context.Context, driver.TokenRequest) (driver.Token, error) {
				n++
				return driver.Token{Password: driver.NewPassword("pw1")}, nil
			}
		})
		b.mustPing(t)
		b.mustPing(t)
		wantEqual(t, "tokens", n, 2)
	})
}

func TestASecretNeedsAPasswordWithoutTokens(t *testing.T) {
	_, tokens := withTokens()
	for name, tt := range map[string]struct {
		setup []func(*bench, *string)
		want  string
	}{
		"password":      {[]func(*bench, *string){tokens, func(b *bench, _ *string) { b.opts.Token = nil }}, `key "password" is missing`},
		"auth=iam":      {[]func(*bench, *string){tokens, withIAM}, ""},
		"Options.Token": {[]func(*bench, *string){tokens}, ""},
		"auth=iam without a user": {[]func(*bench, *string){tokens, withIAM, func(b *bench, _ *string) {
			b.store.put("v1", `{"host":"db.example.com"}`, "AWSCURRENT")
		}}, `key "username" is missing`},
	} {
		t.Run(name, func(t *testing.T) {
			err := newBench(t, tt.setup...).ping(t.Context())
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, driver.ErrMalformedSecret) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAuthIsIAMOrNothing(t *testing.T) {
	token := func(context.Context, driver.TokenRequest) (driver.Token, error) { return driver.Token{}, nil }
	params := func(params map[string]string) (map[string]string, error) {
		if params["tls"] == "false" {
			return nil, errors.New("iam needs TLS")
		}
		return map[string]string{"tls": "true"}, nil
	}
	for name, tt := range map[string]struct {
		dsn  string
		opts driver.Options
		iam  func(map[string]string) (map[string]string, error)
		kind error
		want string // of the error; empty: none
	}{
		"iam":              {"prod/app?auth=iam", driver.Options{IAMToken: token}, params, nil, ""},
		"JDBC":             {"jdbc-secretsmanager:mysql://h/db?user=prod/app&auth=iam", driver.Options{IAMToken: token}, params, nil, ""},
		"another value":    {"prod/app?auth=kerberos", driver.Options{IAMToken: token}, params, driver.ErrBadDSN, `parameter "auth": it has to be "iam"; leave it out to log in with the secret's password`},
		"engine without":   {"prod/app?auth=iam", driver.Options{IAMToken: token}, nil, driver.ErrBadDSN, `parameter "auth": the driver for mysql cannot log in with IAM tokens`},
		"no TLS":           {"prod/app?auth=iam&tls=false", driver.Options{IAMToken: token}, params, driver.ErrBadDSN, `parameter "auth": iam needs TLS`},
		"with a token":     {"prod/app?auth=iam", driver.Options{IAMToken: token, Token: token}, params, driver.ErrBadDSN, `parameter "auth": Options.Token is set too; use only one of the two`},
		"nothing to sign":  {"prod/app?auth=iam", driver.Options{}, params, nil, "auth=iam needs Options.IAMToken; use the package engines/<db>, which sets it"},
		"a spelling of it": {"prod/app?Auth=iam", driver.Options{IAMToken: token}, params, driver.ErrBadDSN, `did you mean "auth"?`},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine("mysql", newDatabase())
			e.info.IAM = tt.iam
			tt.opts.SecretsAt = func(driver.Location) (driver.Secrets, error) { return nil, nil }
			_, err := driver.NewConnector(e, tt.dsn, &tt.opts)
			switch {
			case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			case tt.kind != nil && !errors.Is(err, tt.kind):
				t.Errorf("got %v, want %v", err, tt.kind)
			}
		})
	}
}

func TestTheEnginesParametersForIAMAreUsed(t *testing.T) {
	m, tokens := withTokens()
	b := newBench(t, tokens, withIAM, func(b *bench, _ *string) {
		b.engine.info.IAM = func(map[string]string) (map[string]string, error) { return map[string]string{"tls": "true"}, nil }
	})
	b.mustPing(t)
	if ep := b.engine.endpoints[0]; !ep.IAM || ep.Params["tls"] != "true" {
		t.Errorf("prepared for %+v, want IAM and tls=true", ep)
	}
	wantEqual(t, "tokens", m.count(), 1)
}

// No error, log record or trace shows a token.
func TestNoTokenLeaks(t *testing.T) {
	for name, fault := range map[string]func(context.Context, *login) error{
		"accepted": nil,
		"rejected": always(&vendorError{codeRejected, "access denied"}),
		"failed":   always(errors.New("connection refused")),
		"panic":    nil,
	} {
		inBubble(t, name, func(t *testing.T) {
			c := &catcher{t: t}
			var logs strings.Builder
			b := newBench(t, func(b *bench, _ *string) {
				b.opts.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
				b.db.set("app", canary)
				b.opts.Trace = &driver.Trace{
					LoginDone:   func(_ context.Context, i driver.LoginInfo) { c.check("LoginInfo", i) },
					ConnectDone: func(_ context.Context, i driver.ConnectInfo) { c.check("ConnectInfo", i) },
				}
				b.opts.Token = func(context.Context, driver.TokenRequest) (driver.Token, error) {
					if name == "panic" {
						panic(canary)
					}
					token := driver.Token{Password: driver.NewPassword(canary), Expires: time.Now().Add(time.Hour)}
					c.check("Token", token)
					return token, nil
				}
			})
			_ = b.ping(t.Context())
			b.db.setFault(fault)
			for range 2 {
				if err := b.ping(t.Context()); err != nil {
					c.check("error", err)
				}
			}
			if strings.Contains(logs.String(), canary) {
				t.Errorf("a record has the token: %s", logs.String())
			}
		})
	}
}
