package driver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// A mint makes tokens. The database of a bench accepts them until they expire.
type mint struct {
	mu      sync.Mutex
	db      *database
	made    []driver.TokenRequest
	expires map[string]time.Time // by token
	life    time.Duration        // how long a token lasts
	latency time.Duration
	user    string // Token.User
	fault   func(ctx context.Context, n int) error
}

func (m *mint) token(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
	m.mu.Lock()
	m.made = append(m.made, r)
	n, fault := len(m.made), m.fault
	m.mu.Unlock()
	if err := wait(ctx, m.latency); err != nil {
		return driver.Token{}, err
	}
	if fault != nil {
		if err := fault(ctx, n); err != nil {
			return driver.Token{}, err
		}
	}
	token, expires := fmt.Sprintf("token-%d", n), time.Now().Add(m.life)
	m.mu.Lock()
	m.expires[token] = expires
	m.mu.Unlock()
	return driver.Token{User: m.user, Password: driver.NewPassword(token), Expires: expires}, nil
}

func (m *mint) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.made)
}

// fails sets a func that the mint calls instead of making the next tokens.
func (m *mint) fails(fault func(ctx context.Context, n int) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// check is a fault of the database: it accepts the tokens of the mint until they expire.
func (m *mint) check(_ context.Context, l *login) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if expires, ok := m.expires[l.password]; !ok || !time.Now().Before(expires) {
		return &vendorError{codeRejected, "access denied for user " + l.user}
	}
	m.db.set(l.user, l.password)
	return nil
}

// revoke makes the database reject all tokens that exist now.
func (m *mint) revoke() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.expires)
}

// withTokens is a setup for newBench: the connector logs in with the tokens of a mint.
func withTokens(setup ...func(*mint)) (*mint, func(*bench, *string)) {
	m := &mint{expires: map[string]time.Time{}, life: 15 * time.Minute}
	for _, f := range setup {
		f(m)
	}
	return m, func(b *bench, _ *string) {
		m.db = b.db
		b.db.setFault(m.check)
		b.store.put("v1", `{"host":"db.example.com","username":"app"}`, "AWSCURRENT")
		b.opts.Token = m.token
	}
}

// withIAM is a setup for newBench: the connector logs in with auth=iam and the tokens of a mint.
func withIAM(b *bench, dsn *string) {
	*dsn = "prod/app?auth=iam"
	b.engine.info.IAM = func(params map[string]string) (map[string]string, error) { return params, nil }
	b.opts.IAMToken, b.opts.Token = b.opts.Token, nil
}

func TestATokenIsReusedForThirteenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens()
		b := newBench(t, tokens, withIAM)
		const calls = 10_000
		began := time.Now()
		for range calls {
			b.mustPing(t)
			time.Sleep(time.Second)
		}
		b.wantLogins(t, calls, 0)
		wantEqual(t, "tokens", m.count(), int(time.Since(began)/(13*time.Minute))+1)
		t.Logf("%d Connect calls in %v: %d tokens", calls, time.Since(began), m.count())
	})
}

func TestATokenIsForItsHostPortAndUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens()
		b := newBench(t, tokens, withTTL(-1))
		b.mustPing(t)
		b.store.put("v2", `{"host":"db.example.com","username":"app_clone"}`, "AWSCURRENT")
		b.mustPing(t)
		b.store.put("v3", `{"host":"other.example.com","port":3307,"username":"app_clone"}`, "AWSCURRENT")
		b.mustPing(t)
		b.store.put("v4", `{"host":"db.example.com","username":"app"}`, "AWSCURRENT")
		b.mustPing(t)
		want := []driver.TokenRequest{
			{Host: "db.example.com", Port: 3306, User: "app", SecretID: "prod/app"},
			{Host: "db.example.com", Port: 3306, User: "app_clone", SecretID: "prod/app"},
			{Host: "other.example.com", Port: 3307, User: "app_clone", SecretID: "prod/app"},
		}
		if !slices.Equal(m.made, want) {
			t.Errorf("tokens for %+v, want %+v", m.made, want)
		}
	})
}

// The server may reject a reused token, because its clock is ahead or the token was revoked.
func TestARejectedTokenThatWasReusedIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens()
		var mu sync.Mutex
		var done []driver.LoginInfo
		var connect []driver.ConnectInfo
		b := newBench(t, tokens, withIAM, func(b *bench, _ *string) {
			b.opts.Trace = &driver.Trace{
				LoginDone: func(_ context.Context, i driver.LoginInfo) {
					mu.Lock()
					defer mu.Unlock()
					done = append(done, i)
				},
				ConnectDone: func(_ context.Context, i driver.ConnectInfo) {
					mu.Lock()
					defer mu.Unlock()
					connect = append(connect, i)
				},
				RefreshDone: func(_ context.Context, i driver.RefreshInfo) { t.Errorf("refreshed: %+v", i) },
			}
		})
		b.mustPing(t)
		m.revoke()
		b.mustPing(t)
		b.wantLogins(t, 3, 1)
		wantEqual(t, "tokens", m.count(), 2)
		wantEqual(t, "logins of the second call", connect[1].Logins, 2)
		if len(done) != 3 || done[0].Rejected || !done[1].Rejected || done[2].Rejected || done[2].Err != nil {
			t.Errorf("LoginDone: %+v, want accepted, rejected, accepted", done)
		}
		// The verdict is still accepted, so all calls may log in at once.
		b.mustPingTogether(t, 20)
		b.wantLogins(t, 23, 1)
		b.wantFetches(t, "", 1)
	})
}

func TestOneTokenReplacesWhatManyLoginsHaveReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens(func(m *mint) { m.latency = 50 * time.Millisecond })
		var logs strings.Builder // the handler has a lock
		b := newBench(t, tokens, withIAM, withLatency(20*time.Millisecond), func(b *bench, _ *string) {
			b.opts.Logger = slog.New(slog.NewTextHandler(&logs, nil))
		})
		b.mustPing(t)
		m.revoke()
		b.mustPingTogether(t, 20)
		b.wantLogins(t, 41, 20)
		wantEqual(t, "tokens", m.count(), 2)
		wantEqual(t, "records of all that", strings.Count(logs.String(), "level=INFO"), 1)
	})
}

func TestAFreshTokenThatIsRejectedIsARejection(t *testing.T) {
	for name, tt := range map[string]struct {
		setup func(*bench, *string)
		want  string
	}{
		// The server checks IAM tokens through PAM. IAM locks no account, so the pause begins at 1 s too.
		"auth=iam": {func(b *bench, dsn *string) { b.engine.elsewhere = true; withIAM(b, dsn) }, "check that the database user may log in by IAM (PostgreSQL: GRANT rds_iam; MySQL and MariaDB: AWSAuthenticationPlugin), " +
			"that the AWS credentials' policy allows rds-db:connect for that user, and that the host is the one that RDS gave the database"},
		"Options.Token": {func(*bench, *string) {}, "check that the token of Options.Token is for this user, and not expired"},
	} {
		inBubble(t, name, func(t *testing.T) {
			m, tokens := withTokens()
			b := newBench(t, tokens, tt.setup)
			m.life = -time.Second
			err := b.ping(t.Context())
			isAuthFailed(t, err, "v1")
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "password in the secret") {
				t.Errorf("got %v, want …%s…", err, tt.want)
			}
			b.wantLogins(t, 1, 1)
			t.Log(err)
			// The version is held back until its pause is over, and then tried with a new token.
			if err := b.pingFor(t, time.Millisecond); !errors.Is(err, driver.ErrAuthFailed) {
				t.Errorf("in the pause: %v", err)
			}
			b.wantLogins(t, 1, 1)
			m.life = time.Hour
			time.Sleep(2 * time.Second)
			b.mustPing(t)
			b.wantLogins(t, 2, 1)
			wantEqual(t, "tokens", m.count(), 2)
		})
	}
}

// If both tokens of a call are rejected, that is one rejection, and no third login is sent.
func TestATokenIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens()
		b := newBench(t, tokens, withIAM)
		b.mustPing(t)
		m.revoke()
		m.life = -time.Second
		isAuthFailed(t, b.ping(t.Context()), "v1")
		b.wantLogins(t, 3, 2)
	})
}

// In a rotation, another version with another user gets a token of that user.
func TestAnotherVersionHasAnotherUsersToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens()
		b := newBench(t, tokens, withIAM, func(b *bench, _ *string) {
			b.db.setFault(func(ctx context.Context, l *login) error {
				if l.user == "gone" {
					return &vendorError{codeRejected, "access denied"}
				}
				return m.check(ctx, l)
			})
			b.store.put("v0", `{"host":"db.example.com","username":"gone"}`, "AWSCURRENT")
			b.store.put("v2", `{"host":"db.example.com","username":"app"}`, "AWSPENDING")
		})
		b.mustPing(t)
		b.wantLogins(t, 2, 1)
		wantEqual(t, "user of the second token", m.made[1].User, "app")
	})
}

func TestATokenIsMadeOnceForAllWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens()
		b := newBench(t, tokens, withIAM)
		b.mustPing(t) // so that several calls may log in at once
		time.Sleep(14 * time.Minute)
		m.latency = 3 * time.Second
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { b.wantPing(t) })
		}
		// This call has an earlier deadline, and only this one fails.
		err := b.pingFor(t, time.Second)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("got %v, want the deadline", err)
		}
		wg.Wait()
		wantEqual(t, "tokens", m.count(), 2)
		b.wantLogins(t, 51, 0)
	})
}

// If no call waits for a token any more, making it is cancelled. The error of the next call says why there is
// no token.
func TestTokenThatNoCallWaitsForIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens(func(m *mint) {
			m.fault = func(ctx context.Context, _ int) error {
				<-ctx.Done()
				return fmt.Errorf("ask the metadata service: %w", ctx.Err())
			}
		})
		b := newBench(t, tokens, withIAM)
		err := b.pingFor(t, time.Second)
		if err == nil || !strings.Contains(err.Error(), "get a token for db.example.com:3306: context deadline exceeded") {
			t.Errorf("the first call: %v", err)
		}
		synctest.Wait()
		err = b.pingFor(t, time.Second)
		if err == nil || !strings.Contains(err.Error(), "context deadline exceeded; the last attempt failed: ask the metadata service: context canceled") {
			t.Errorf("the second call: %v", err)
		}
		wantEqual(t, "tokens asked for", m.count(), 2)
		b.wantLogins(t, 0, 0)
	})
}

func TestAFuncThatIgnoresItsContextIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		m, tokens := withTokens(func(m *mint) {
			m.fault = func(_ context.Context, n int) error {
				if n == 1 {
					<-release
				}
				return nil
			}
		})
		b := newBench(t, tokens, withIAM, func(b *bench, _ *string) { b.opts.ConnectTimeout = 5 * time.Second })
		began := time.Now()
		for n := range 6 { // one call waits at any time
			err := b.ping(t.Context())
			if n == 0 && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first call: %v", err)
			}
		}
		wantEqual(t, "time", time.Since(began), 5*time.Second)
		wantEqual(t, "tokens asked for", m.count(), 2)
		close(release)
	})
}

func TestWithoutATokenNothingIsSent(t *testing.T) {
	for name, tt := range map[string]struct {
		fault func(context.Context, int) error
		setup func(*mint)
		want  string
	}{
		"error":         {fault: func(context.Context, int) error { return errors.New("no AWS credentials found") }, want: "no AWS credentials found"},
		"vendor error":  {fault: func(context.Context, int) error { return &vendorError{codeRejected, "of the token's server"} }, want: "vendor: of the token's server (1045)"},
		"panic":         {fault: func(context.Context, int) error { panic("secret text") }, want: "Options.IAMToken panicked with a value of type string"},
		"end":           {fault: func(context.Context, int) error { runtime.Goexit(); return nil }, want: "Options.IAMToken ended its goroutine"},
		"context error": {fault: func(context.Context, int) error { return context.Canceled }, want: "context canceled"},
	} {
		inBubble(t, name, func(t *testing.T) {
			m, tokens := withTokens(func(m *mint) { m.fault = tt.fault })
			started := 0
			var connect driver.ConnectInfo
			b := newBench(t, tokens, withIAM, func(b *bench, _ *string) {
				b.opts.Trace = &driver.Trace{
					LoginStart:  func(context.Context, driver.LoginInfo) { started++ },
					LoginDone:   func(context.Context, driver.LoginInfo) { started++ },
					ConnectDone: func(_ context.Context, i driver.ConnectInfo) { connect = i },
				}
			})
			for range 3 {
				err := b.ping(t.Context())
				want := `connect with secret "prod/app" (version v1): get a token for db.example.com:3306: ` + tt.want
				if err == nil || err.Error() != want || errors.Is(err, driver.ErrAuthFailed) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
			b.wantLogins(t, 0, 0)
			wantEqual(t, "events of logins", started, 0)
			wantEqual(t, "ConnectInfo.Logins", connect.Logins, 0)
			// This is no outage. In an outage the secret would be read again after 1 to 5 minutes.
			time.Sleep(6 * time.Minute)
			_ = b.ping(t.Context())
			b.wantFetches(t, "", 1)
			m.fails(nil)
			b.mustPing(t)
		})
	}
}

// If a reused token was rejected and no new one can be made, the error has both causes.
func TestATokenThatCannotBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens()
		b := newBench(t, tokens, withIAM)
		b.mustPing(t)
		m.revoke()
		m.fails(func(context.Context, int) error { return errors.New("no AWS credentials found") })
		err := b.ping(t.Context())
		want := "get a token for db.example.com:3306: no AWS credentials found; the server rejected the token that was reused: vendor: access denied for user app (1045)"
		if err == nil || !strings.HasSuffix(err.Error(), want) || errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("got %v, want …%s", err, want)
		}
		m.fails(nil)
		b.mustPing(t)
		b.wantLogins(t, 3, 1)
	})
}

// Connectors with tokens do not share verdicts, because their tokens may come from different places, and IAM
// locks no account.
func TestConnectorsByTokenShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, tokens := withTokens(func(m *mint) { m.life = -time.Second })
		b := newBench(t, tokens, withIAM)
		isAuthFailed(t, b.pingFor(t, 10*time.Millisecond), "v1")
		good := &mint{db: b.db, expires: m.expires, life: time.Hour}
		options := b.opts
		options.IAMToken = good.token
		other, err := driver.NewConnector(b.engine, "prod/app?auth=iam", &options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Connect(t.Context()); err != nil {
			t.Errorf("Connect = %v", err)
		}
		b.wantLogins(t, 2, 1)
	})
}
