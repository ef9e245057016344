package integration_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/rds/auth"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	defaults "github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/mariadb"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// The tokens are the same as those of AWS's own package, except for a "/" before the "?" that the
// AWS CLI writes, too. The signed content is the same.
func TestTokensAreSignedAsByAWS(t *testing.T) {
	for _, creds := range []aws.Credentials{
		{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example"},
		{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "exa/mple+", SessionToken: "session/+=token"},
	} {
		for _, tt := range []struct {
			host, region, user string
			port               int
		}{
			{"db.c1a2b3d4.us-west-2.rds.amazonaws.com", "us-west-2", "app", 5432},
			{"db.c1a2b3d4.rds.cn-north-1.amazonaws.com.cn", "cn-north-1", "app", 3306},
			{"proxy.proxy-c1a2b3d4.eu-west-1.rds.amazonaws.com", "eu-west-1", "app user/ä+&=?%", 5432},
			{"db.example.com", "ap-south-1", "app@example.com", 15432},
			{"10.0.0.1", "ap-south-1", "App_1", 3306},
			{"::1", "ap-south-1", "app", 3306},
		} {
			synctest.Test(t, func(t *testing.T) {
				provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil })
				source := awssm.New(func(o *awssm.Options) { o.Config = &aws.Config{Credentials: provider} })
				for range 3 {
					got, _, err := source.RDSToken(t.Context(), tt.region, tt.host, tt.port, tt.user)
					want, err2 := auth.BuildAuthToken(t.Context(), net.JoinHostPort(tt.host, strconv.Itoa(tt.port)), tt.region, tt.user, provider)
					if err := errors.Join(err, err2); err != nil {
						t.Fatal(err)
					}
					if strings.Replace(got, "/?", "?", 1) != want {
						t.Errorf("%+v:\ngot  %s\nwant %s", tt, got, want)
					}
					time.Sleep(7*time.Hour + 13*time.Second)
				}
			})
		}
	}
}

// A gatekeeper checks tokens for a database.
type gatekeeper struct {
	user, address string

	mu      sync.Mutex
	seen    map[string]bool
	expired map[string]bool
	denied  bool // the policy does not have rds-db:connect
}

// check reports whether a token lets a user in: it has to be for this database and user, and valid
// now.
func (g *gatekeeper) check(user, token string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen[token] = true
	u, err := url.Parse("https://" + token)
	if err != nil || g.denied || g.expired[token] || user != g.user {
		return false
	}
	q := u.Query()
	signed, err := time.Parse("20060102T150405Z", q.Get("X-Amz-Date"))
	return err == nil && time.Since(signed).Abs() < 15*time.Minute && u.Host == g.address && q.Get("DBUser") == user &&
		strings.HasPrefix(q.Get("X-Amz-Credential"), "AKIDEXAMPLE/") && strings.HasSuffix(q.Get("X-Amz-Credential"), "/us-west-2/rds-db/aws4_request")
}

// expire makes the gatekeeper reject the tokens that it has seen.
func (g *gatekeeper) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for token := range g.seen {
		g.expired[token] = true
	}
}

func (g *gatekeeper) tokens() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seen)
}

// deny makes the gatekeeper reject every token.
func (g *gatekeeper) deny() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.denied = true
}

// withoutPassword stores a secret without a password, and returns its data source name.
func withoutPassword(t *testing.T, engine, host string, port int, database, user string) string {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	sm := awssmtest.NewServer(t)
	b, err := json.Marshal(map[string]any{"engine": engine, "host": host, "port": port, "dbname": database, "username": user})
	if err != nil {
		t.Fatal(err)
	}
	sm.Put("prod/app", string(b))
	return "prod/app?auth=iam&region=us-west-2&endpoint=" + sm.URL()
}

// isDenied checks the error for a token that the server rejects.
func isDenied(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, driver.ErrAuthFailed) || !strings.Contains(err.Error(), "GRANT rds_iam") || !strings.Contains(err.Error(), "rds-db:connect") ||
		strings.Contains(err.Error(), "X-Amz-") {
		t.Errorf("got %v, want ErrAuthFailed that says what to check", err)
	}
	t.Log(err)
}

// A real PostgreSQL asks a server of this test whether a token is right. Servers of Amazon ask
// theirs by PAM.
func TestPostgresByToken(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{Private: true, TLS: true})
	g := &gatekeeper{user: v.user, address: net.JoinHostPort(v.Host, strconv.Itoa(v.Port)), seen: map[string]bool{}, expired: map[string]bool{}}
	d := newDirectory(t, g.check)
	var gateway string
	if err := v.Admin().QueryRowContext(t.Context(), "SELECT host(inet_client_addr())").Scan(&gateway); err != nil {
		t.Fatal(err)
	}
	authenticate(t, v.Server, fmt.Sprintf(`hostssl all all all ldap ldapserver="%s" ldapport=%d ldapprefix="" ldapsuffix=""`, gateway, d.port()))

	dsn := withoutPassword(t, "postgres", v.Host, v.Port, v.Database, v.user)
	open := func(params string) *sql.DB {
		t.Helper()
		db, err := sql.Open(postgres.DriverName, dsn+params)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		db.SetMaxIdleConns(-1) // each Ping logs in
		return db
	}
	db := open("&sslrootcert=" + v.CA.File)
	const pings = 50
	for range pings {
		mustPing(t, db)
	}
	if accepted, rejected := d.counts(); accepted != pings || rejected != 0 || g.tokens() != 1 {
		t.Errorf("%d logins accepted and %d rejected, with %d tokens; want %d, 0, 1", accepted, rejected, g.tokens(), pings)
	}

	time.Sleep(1100 * time.Millisecond) // so that the next token is signed at another second
	g.expire()
	mustPing(t, db)
	if accepted, rejected := d.counts(); accepted != pings+1 || rejected != 1 || g.tokens() != 2 {
		t.Errorf("after its end: %d logins accepted and %d rejected, with %d tokens; want %d, 1, 2", accepted, rejected, g.tokens(), pings+1)
	}
	// The certificate must be known, unless sslmode=require says otherwise.
	if err := open("").PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), "signed by an authority that is not one of the system's; name the authority's certificate by sslrootcert") {
		t.Errorf("an unknown authority: %v", err)
	}
	mustPing(t, open("&sslmode=require"))

	pool, err := postgres.NewPool(t.Context(), dsn+"&pool_max_conns=2&sslrootcert="+v.CA.File, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("a pgxpool: %v", err)
	}

	g.deny()
	err = open("&sslrootcert=" + v.CA.File).PingContext(t.Context())
	isDenied(t, err)
	if pg := (*pgconn.PgError)(nil); !errors.As(err, &pg) || pg.Code != "28000" || pg.Routine != "auth_failed" {
		t.Errorf("got %v, want 28000 of auth_failed", err)
	}
}

// The token is the password of the role here, on a real PostgreSQL with the method "password".
func TestPostgresWithATokenForAPassword(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{Private: true, TLS: true})
	authenticate(t, v.Server, `hostssl all all all password`)
	dsn := withoutPassword(t, "postgres", v.Host, v.Port, v.Database, v.user)
	sign := defaults.Options(nil).IAMToken
	made := 0
	o := &driver.Options{IAMToken: func(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
		made++
		token, err := sign(ctx, r)
		if err == nil {
			err = v.SetPassword(ctx, v.user, token.Password.Reveal())
		}
		return token, err
	}}
	c, err := postgres.NewConnector(dsn+"&sslrootcert="+v.CA.File, o)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		if n == 10 {
			if err := v.SetPassword(t.Context(), v.user, "the token is over"); err != nil {
				t.Fatal(err)
			}
		}
		if err := connect(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.Logins(v.user); made != 2 {
		t.Errorf("%d tokens for %v logins, want 2", made, got)
	}
}

// A server without TLS gets no token.
func TestATokenIsNotSentInPlaintext(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{})
	dsn := withoutPassword(t, "postgres", v.Host, v.Port, v.Database, v.user)
	for _, params := range []string{"", "&sslmode=prefer", "&sslmode=require", "&sslmode=verify-full"} {
		c, err := postgres.NewConnector(dsn+params, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = connect(t.Context(), c)
		want := "the server does not have it, and auth=iam requires it"
		if params == "&sslmode=require" {
			want = "the server does not have it, and sslmode=require requires it"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", params, err, want)
		}
	}
	for driverName, params := range map[string]string{postgres.DriverName: "sslmode=disable", mysql.DriverName: "tls=false", mariadb.DriverName: "tls=false"} {
		_, err := sql.Open(driverName, "prod/app?auth=iam&"+params)
		want := `parse data source name: bad data source name: parameter "auth": iam needs TLS, and ` + params + " turns it off: leave that out, or give "
		if !errors.Is(err, driver.ErrBadDSN) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s…", driverName, err, want)
		}
	}
}

// Without credentials there is no token.
func TestNoCredentialsForAToken(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{})
	source := awssm.New(func(o *awssm.Options) { o.Config = &aws.Config{Region: "us-west-2"} })
	c, err := postgres.NewConnector(withoutPassword(t, "postgres", v.Host, v.Port, v.Database, v.user), &driver.Options{
		IAMToken: func(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
			token, expires, err := source.RDSToken(ctx, "", r.Host, r.Port, r.User)
			return driver.Token{Password: driver.NewPassword(token), Expires: expires}, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	err = connect(t.Context(), c)
	want := fmt.Sprintf("get a token for %s:%d: sign RDS token in us-west-2: no AWS credentials found: set AWS_ACCESS_KEY_ID", v.Host, v.Port)
	if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, driver.ErrAuthFailed) {
		t.Errorf("got %v, want …%s…", err, want)
	}
	if n := v.Logins(v.user); n != 0 {
		t.Errorf("%d logins, want none", n)
	}
}

// MySQL and MariaDB get the token with mysql_clear_password, over TLS. The server is a stand-in.
func TestMySQLByToken(t *testing.T) {
	certs := testca.New("127.0.0.1")
	for name, newConnector := range map[string]func(string, *driver.Options) (*driver.Connector, error){
		"mysql": mysql.NewConnector, "mariadb": mariadb.NewConnector,
	} {
		t.Run(name, func(t *testing.T) {
			s := (&mysqlserver.Server{TLS: certs.Server, SwitchTo: mysqlserver.ClearPassword}).Start(t)
			dsn := withoutPassword(t, name, s.Host, s.Port, "app", "app")
			sign := defaults.Options(nil).IAMToken
			made, denied := 0, false
			o := &driver.Options{TLS: &tls.Config{RootCAs: certs.Pool}, IAMToken: func(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
				made++
				token, err := sign(ctx, r)
				if !denied {
					s.SetPassword(t, "app", token.Password.Reveal())
				}
				return token, err
			}}
			c, err := newConnector(dsn, o)
			if err != nil {
				t.Fatal(err)
			}
			const connections = 20
			for n := range connections {
				if n == connections/2 {
					s.SetPassword(t, "app", "the token is over")
				}
				if err := connect(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			seen := s.Seen()
			if len(seen) != connections+1 || made != 2 {
				t.Errorf("%d logins with %d tokens, want %d and 2", len(seen), made, connections+1)
			}
			for _, l := range seen {
				if !l.TLS || !strings.HasPrefix(l.Clear, s.Addr()+"/?Action=connect&DBUser=app&") {
					t.Errorf("the server saw %+v", l)
				}
			}
			denied = true
			s.SetPassword(t, "app", "what no token is")
			isDenied(t, connect(t.Context(), c))
		})
	}
}
