package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// put stores a secret for a server. more adds or replaces fields; nil removes one.
func (w *world) put(id, engine, host string, port int, more map[string]any) (versionID string) {
	fields := map[string]any{"engine": engine, "host": host, "port": port, "dbname": "app", "username": user, "password": password}
	maps.Copy(fields, more)
	for name, value := range fields {
		if value == nil {
			delete(fields, name)
		}
	}
	value, err := json.Marshal(fields)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.aws.Put(id, string(value))
}

// postgres starts a server that accepts the user, and stores its secret.
func (w *world) postgres(s *pgserver.Server, more map[string]any) *pgserver.Server {
	s.CheckPasswords = true
	s.SetPassword(w.t, user, password)
	s.Start(w.t)
	w.put("prod/app", "postgres", "127.0.0.1", s.Port, more)
	return s
}

// closedPort returns a port at which nothing listens. It is a client's port until the test ends, so
// no server of another test gets it.
func closedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client.LocalAddr().(*net.TCPAddr).Port
}

// A fault is something that is wrong, and what the command must say about it.
type fault struct {
	name  string
	setUp func(w *world) (args []string)
	cause string
	exit  int
	says  string // a part of the first line
}

func dsn(s ...string) []string { return s }

// faults has the twenty-five faults that the command was made for, and variants of them.
var faults = []fault{
	{"wrong region", func(w *world) []string {
		w.aws.FreezeReplica("us-east-1")
		w.put("prod/app", "postgres", "127.0.0.1", 1, nil)
		return dsn("prod/app?region=us-east-1")
	}, "not-found", exitNoSecret, "no such secret in us-east-1"},
	{"region typo in the data source name", func(*world) []string { return dsn("prod/app?region=us-wset-2") },
		"region-typo", exitUsage, `did you mean "us-west-2"`},
	{"region typo in the environment", func(w *world) []string {
		w.set("AWS_REGION", "us-wset-2")
		w.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", fmt.Sprintf("http://127.0.0.1:%d", closedPort(w.t)))
		return dsn("prod/app")
	}, "region-typo", exitIdentity, `did you mean "us-west-2"`},
	{"missing permission", func(w *world) []string {
		w.aws.Fail(awssmtest.Denied)
		return dsn("prod/app")
	}, "access-denied", exitPermission, "secretsmanager:GetSecretValue"},
	{"KMS denied", func(w *world) []string {
		w.aws.Fail(awssmtest.DeniedKMS)
		return dsn("prod/app")
	}, "access-denied-kms", exitPermission, "kms:Decrypt"},
	{"deleted secret", func(w *world) []string {
		w.put("prod/app", "postgres", "127.0.0.1", 1, nil)
		w.aws.Delete("prod/app")
		return dsn("prod/app")
	}, "deleted", exitNoSecret, "marked for deletion"},
	{"partial ARN that a policy does not allow", func(w *world) []string {
		w.aws.Fail(awssmtest.Denied)
		return dsn("arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app")
	}, "access-denied-partial-arn", exitPermission, "partial"},
	{"partial ARN of a name that ends like a full ARN", func(w *world) []string {
		w.aws.Fail(awssmtest.Error(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."))
		return dsn("arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/my-secret")
	}, "partial-arn", exitNoSecret, "partial"},
	{"managed secret without host", func(w *world) []string {
		w.put("prod/app", "", "", 0, map[string]any{"engine": nil, "host": nil, "port": nil, "dbname": nil})
		return dsn("secretsmanager-postgres", "prod/app")
	}, "no-host", exitContent, "has no host"},
	{"managed secret without engine", func(w *world) []string {
		w.put("prod/app", "", "", 0, map[string]any{"engine": nil, "host": nil})
		return dsn("prod/app")
	}, "no-engine", exitContent, "does not name the engine"},
	{"wrong engine", func(w *world) []string {
		w.put("prod/app", "mysql", "127.0.0.1", 1, nil)
		return dsn("secretsmanager-postgres", "prod/app")
	}, "wrong-engine", exitContent, "the secret is for mysql"},
	{"wrong key name", func(w *world) []string {
		w.put("prod/app", "postgres", "127.0.0.1", 1, map[string]any{"username": nil, "user": user})
		return dsn("prod/app")
	}, "wrong-key", exitContent, `"usernameKey=user"`},
	{"expired token", func(w *world) []string {
		w.aws.Fail(awssmtest.Error(400, "ExpiredTokenException", "The security token included in the request is expired"))
		return dsn("prod/app")
	}, "expired-credentials", exitIdentity, "have expired"},
	{"no credentials", func(w *world) []string {
		w.set("AWS_ACCESS_KEY_ID", "")
		w.set("AWS_SECRET_ACCESS_KEY", "")
		w.set("AWS_SESSION_TOKEN", "")
		return dsn("prod/app")
	}, "no-credentials", exitIdentity, "no AWS credentials"},
	{"unreachable host", func(w *world) []string {
		w.put("prod/app", "postgres", "255.255.255.255", 5432, nil)
		return dsn("prod/app")
	}, "unreachable", exitNetwork, "255.255.255.255:5432 cannot be reached"},
	{"host without address", func(w *world) []string {
		w.put("prod/app", "postgres", "db.invalid", 5432, nil)
		return dsn("prod/app")
	}, "host-not-found", exitNetwork, "db.invalid"},
	{"closed port", func(w *world) []string {
		w.put("prod/app", "postgres", "127.0.0.1", closedPort(w.t), nil)
		return dsn("prod/app")
	}, "port-closed", exitNetwork, "nothing listens at 127.0.0.1:"},
	{"missing socket", func(w *world) []string {
		w.put("prod/app", "postgres", "/no/such/directory", 1, nil)
		return dsn("prod/app")
	}, "port-closed", exitNetwork, "there is no socket /no/such/directory"},
	{"two hosts, one without address and one with a closed port", func(w *world) []string {
		w.put("prod/app", "postgres", "db.invalid,127.0.0.1", closedPort(w.t), nil)
		return dsn("prod/app")
	}, "port-closed", exitNetwork, "nothing listens at"},
	{"TLS refused", func(w *world) []string {
		w.postgres(&pgserver.Server{}, nil)
		return dsn("prod/app?sslmode=require")
	}, "tls-refused", exitTLS, "the server has no TLS"},
	{"TLS refused, and the secret's name is a word of that error", func(w *world) []string {
		s := w.postgres(&pgserver.Server{}, nil)
		w.put("server", "postgres", "127.0.0.1", s.Port, nil)
		return dsn("server?sslmode=require")
	}, "tls-refused", exitTLS, "the server has no TLS"},
	{"another server at the port", func(w *world) []string {
		w.postgres(&pgserver.Server{Answer: 'H'}, nil) // the first byte of an answer of HTTP
		return dsn("prod/app")
	}, "tls", exitTLS, "does not answer like a PostgreSQL server"},
	{"certificate for another name", func(w *world) []string {
		ca := testca.New("db.example.com")
		w.postgres(&pgserver.Server{TLS: ca.Server}, nil)
		return dsn("prod/app?sslmode=verify-full&sslrootcert=" + ca.File(w.t))
	}, "tls-name", exitTLS, "does not contain the host's name"},
	{"unknown authority", func(w *world) []string {
		w.postgres(&pgserver.Server{TLS: testca.New("127.0.0.1").Server}, nil)
		return dsn("prod/app?sslmode=verify-full")
	}, "tls-authority", exitTLS, "unknown authority"},
	{"another authority than the file's", func(w *world) []string {
		w.postgres(&pgserver.Server{TLS: testca.New("127.0.0.1").Server}, nil)
		return dsn("prod/app?sslmode=verify-full&sslrootcert=" + testca.New("127.0.0.1").File(w.t))
	}, "tls-authority", exitTLS, "unknown authority"},
	{"unknown authority of MySQL", func(w *world) []string {
		s := (&mysqlserver.Server{TLS: testca.New("127.0.0.1").Server}).Start(w.t)
		w.put("prod/app", "mysql", "127.0.0.1", s.Port, nil)
		return dsn("prod/app?tls=true")
	}, "tls-authority", exitTLS, "unknown authority"},
	{"unknown authority of SQL Server", func(w *world) []string {
		w.sqlserver(tdsserver.Options{TLS: testca.New("127.0.0.1").Server})
		return dsn("prod/app?encrypt=true")
	}, "tls-authority", exitTLS, "unknown authority"},
	{"unknown authority of Oracle", func(w *world) []string {
		s := tnsserver.New(w.t, &tnsserver.Options{TLS: testca.New("127.0.0.1").Server})
		w.put("prod/app", "oracle", s.Host, s.Port, map[string]any{"dbname": "ORCL"})
		return dsn("prod/app?SSL=true")
	}, "tls-authority", exitTLS, "unknown authority"},
	{"missing CA file", func(w *world) []string {
		w.postgres(&pgserver.Server{}, nil)
		return dsn("prod/app?sslmode=verify-full&sslrootcert=/no/such/ca.pem")
	}, "tls-file", exitTLS, "/no/such/ca.pem"},
	{"wrong password", func(w *world) []string {
		w.postgres(&pgserver.Server{}, map[string]any{"password": password + "x"})
		return dsn("prod/app")
	}, "wrong-password", exitRejected, "rejected the user or the password"},
	{"wrong password, with a window for rotations", func(w *world) []string {
		w.postgres(&pgserver.Server{}, map[string]any{"password": password + "x"})
		return dsn("prod/app?rotationWindow=8s")
	}, "wrong-password", exitRejected, "rejected the user or the password"},
	{"wrong password of Oracle", func(w *world) []string {
		s := tnsserver.New(w.t, nil)
		s.SetPassword(user, password+"x")
		w.put("prod/app", "oracle", s.Host, s.Port, map[string]any{"dbname": "ORCL"})
		return dsn("prod/app")
	}, "wrong-password", exitRejected, "rejected the user or the password"},
	{"locked account", func(w *world) []string {
		w.sqlserver(tdsserver.Options{}).SetState(user, tdsserver.Locked)
		return dsn("prod/app")
	}, "account-locked", exitRejected, "locked the account"},
	{"missing database", func(w *world) []string {
		w.postgres(&pgserver.Server{Databases: []string{"other"}}, nil)
		return dsn("prod/app")
	}, "no-database", exitDatabase, `no database "app"`},
	{"rotation under way, neither version accepted", func(w *world) []string {
		w.postgres(&pgserver.Server{}, map[string]any{"password": password + "x"})
		w.aws.PutStage("prod/app", `{"engine":"postgres","host":"127.0.0.1","username":"`+user+`","password":"`+password+`y"}`, "AWSPENDING")
		return dsn("prod/app?host=127.0.0.1&port=" + w.port("prod/app"))
	}, "rotation-under-way", exitRejected, "a rotation is under way"},
	{"throttled", func(w *world) []string {
		w.aws.Fail(awssmtest.Throttle)
		return dsn("prod/app")
	}, "throttled", exitSource, "throttles"},
	{"agent not running", func(w *world) []string {
		w.set("AWS_TOKEN", "CANARYSESSIONTOKEN")
		return dsn(fmt.Sprintf("prod/app?source=agent&endpoint=http://127.0.0.1:%d", closedPort(w.t)))
	}, "agent-not-running", exitSource, "is not running"},
	{"agent without a token", func(w *world) []string {
		w.set("AWS_SESSION_TOKEN", "")
		return dsn(fmt.Sprintf("prod/app?source=agent&endpoint=http://127.0.0.1:%d", closedPort(w.t)))
	}, "agent-token", exitSource, "the token of the Secrets Manager Agent is missing"},
	{"proxy in the way", func(w *world) []string {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusProxyAuthRequired)
		}))
		w.t.Cleanup(proxy.Close)
		w.set("HTTPS_PROXY", proxy.URL)
		w.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", "")
		return dsn("prod/app")
	}, "proxy", exitSource, "fails at an HTTP proxy"},
	{"ssl required by the secret", func(w *world) []string {
		w.postgres(&pgserver.Server{}, map[string]any{"ssl": true})
		return dsn("prod/app")
	}, "tls-secret", exitTLS, `the secret's "ssl" requires TLS`},
	{"wrong environment variable", func(w *world) []string {
		w.set("SQLSECRETS_TTL", "soon")
		return dsn("prod/app")
	}, "configuration", exitUsage, "SQLSECRETS_TTL"},
	{"user and database with the same name", func(w *world) []string {
		w.postgres(&pgserver.Server{Databases: []string{"other"}}, map[string]any{"username": "app", "password": password})
		return dsn("prod/app")
	}, "wrong-password", exitRejected, "rejected the user"},
	{"secret in a file that does not exist", func(w *world) []string { return dsn("prod/proxy?source=file:" + w.t.TempDir()) },
		"not-found", exitNoSecret, "has no such secret"},
	{"no region", func(w *world) []string {
		w.set("AWS_REGION", "")
		return dsn("prod/app")
	}, "no-region", exitIdentity, "no AWS region"},
	{"unknown access key", func(w *world) []string {
		w.aws.Fail(awssmtest.Error(400, "UnrecognizedClientException", "The security token included in the request is invalid."))
		return dsn("prod/app")
	}, "wrong-credentials", exitIdentity, "AWS does not accept the credentials"},
	{"role that may not be assumed", func(w *world) []string {
		sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Code>AccessDenied</Code>` +
				`<Message>User: arn:aws:iam::123456789012:user/u is not authorized to perform: sts:AssumeRole on resource: x</Message></Error></ErrorResponse>`))
		}))
		w.t.Cleanup(sts.Close)
		w.set("AWS_ENDPOINT_URL_STS", sts.URL)
		return dsn("prod/app?roleArn=arn:aws:iam::123456789012:role/app")
	}, "access-denied-role", exitPermission, "sts:AssumeRole"},
	{"AWS STS cannot be reached", func(w *world) []string {
		w.set("AWS_ENDPOINT_URL_STS", fmt.Sprintf("http://127.0.0.1:%d", closedPort(w.t)))
		return dsn("prod/app?roleArn=arn:aws:iam::123456789012:role/app")
	}, "source-unreachable", exitSource, "AWS STS cannot be reached"},
	{"unknown profile", func(*world) []string { return dsn("prod/app?profile=none") },
		"no-credentials", exitIdentity, "has no such profile"},
	{"parameter that only the engine of the secret can check", func(w *world) []string {
		w.put("prod/app", "postgres", "127.0.0.1", 1, nil)
		return dsn("prod/app?sslmode=bogus")
	}, "data-source-name", exitUsage, `parameter "sslmode"`},
	{"password in the data source name", func(*world) []string { return dsn("prod/app?password=CANARY") },
		"data-source-name", exitUsage, `"password" is not allowed`},
	{"empty data source name", func(*world) []string { return dsn("") },
		"data-source-name", exitUsage, "the data source name is empty"},
	{"stage without a version", func(w *world) []string {
		w.put("prod/app", "postgres", "127.0.0.1", 1, nil)
		return dsn("prod/app?stage=BLUE")
	}, "no-version", exitNoSecret, "stage BLUE"},
	{"secret that is not JSON", func(w *world) []string {
		w.aws.Put("prod/app", password)
		return dsn("prod/app?engine=postgres")
	}, "malformed-secret", exitContent, "not a JSON object"},
	{"server that requires TLS", func(w *world) []string {
		w.postgres(&pgserver.Server{Check: func(pgserver.Login) *pgserver.Error {
			return pgserver.NewError("28000", "ClientAuthentication", "no pg_hba.conf entry for host, no encryption")
		}}, nil)
		return dsn("prod/app?sslmode=disable")
	}, "tls-required", exitTLS, "no rule for this login without TLS"},
	{"SQL Server that requires TLS", func(w *world) []string {
		w.sqlserver(tdsserver.Options{TLS: testca.New("127.0.0.1").Server, Force: true})
		return dsn("prod/app?encrypt=disable")
	}, "tls-required", exitTLS, "the server requires TLS"},
	{"rejected IAM token", func(w *world) []string {
		ca := testca.New("127.0.0.1")
		w.postgres(&pgserver.Server{TLS: ca.Server}, nil)
		return dsn("prod/app?auth=iam&sslrootcert=" + ca.File(w.t))
	}, "iam-rejected", exitRejected, "rejected the IAM token"},
	{"Db2, without IBM's driver", func(w *world) []string {
		w.put("prod/app", "db2", "127.0.0.1", 1, nil)
		return dsn("prod/app")
	}, "no-driver", exitUsage, "without IBM's driver"},
	{"source does not answer", func(w *world) []string {
		w.aws.Fail(awssmtest.Hang)
		return dsn("prod/app")
	}, "source-unreachable", exitSource, "does not answer"},
	{"server does not answer", func(w *world) []string {
		w.postgres(&pgserver.Server{Hang: pgserver.AtStartup}, nil)
		return dsn("prod/app")
	}, "no-answer", exitDatabase, "does not answer in time"},
}

// sqlserver starts a server that accepts the user, and stores its secret.
func (w *world) sqlserver(o tdsserver.Options) *tdsserver.Server {
	o.Databases = []string{"app"}
	s, err := tdsserver.Start(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	s.SetPassword(user, password)
	w.put("prod/app", "sqlserver", s.Host, s.Port, nil)
	return s
}

// port returns the port in a secret.
func (w *world) port(id string) string {
	s, err := w.aws.Source().Fetch(w.t.Context(), id, "AWSCURRENT")
	if err != nil {
		w.t.Fatal(err)
	}
	var fields struct{ Port json.Number }
	if err := json.Unmarshal(s.Bytes(), &fields); err != nil {
		w.t.Fatal(err)
	}
	return fields.Port.String()
}

// The first line names each fault, within 10 s. No output contains a value of the secret or of the
// credentials.
func TestFaultsAreNamedInTheFirstLine(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			args := append([]string{"check"}, f.setUp(w)...)
			var text, out ran
			var both sync.WaitGroup // both may wait for a server that does not answer
			both.Go(func() { text = w.run(args...) })
			both.Go(func() { out = w.run(append(slices.Clip(args), "-json")...) })
			both.Wait()
			if text.code != f.exit || !strings.Contains(text.first(), f.says) || !strings.HasPrefix(text.first(), "FAIL not connected: ") {
				t.Errorf("code %d, want %d, and %q in the first line:\n%s%s", text.code, f.exit, f.says, text.stdout, text.stderr)
			}
			var r struct {
				result
				Milliseconds int64
			}
			if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
				t.Fatalf("%v: %s%s", err, out.stdout, out.stderr)
			}
			if r.Connected || r.Cause != f.cause || r.ExitCode != f.exit || out.code != f.exit {
				t.Errorf("cause %q with code %d and %d, want %q with %d", r.Cause, r.ExitCode, out.code, f.cause, f.exit)
			}
			if r.Milliseconds > 10_000 {
				t.Errorf("it took %d ms", r.Milliseconds)
			}
			for _, r := range []ran{text, out} {
				if all := r.stdout + r.stderr; strings.Contains(strings.ToUpper(all), "CANARY") {
					t.Errorf("the output shows a secret value:\n%s", all)
				}
			}
		})
	}
}
