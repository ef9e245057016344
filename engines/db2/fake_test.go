package db2_test

import (
	"bufio"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func init() { sql.Register("fake_ibm_db", cliDriver{}) }

// A cliDriver stands in for go_ibm_db: it reads a connection string as IBM's CLI does,
// dials without a context, and fails with errors of go_ibm_db's form.
type cliDriver struct{}

// parseCLI splits at each ";" and at the first "=" then; the first of equal keywords
// counts, in any case, and Db2 takes spaces around values away. There is no quoting.
func parseCLI(s string) map[string]string {
	keywords := map[string]string{}
	for pair := range strings.SplitSeq(s, ";") {
		keyword, value, ok := strings.Cut(pair, "=")
		keyword = strings.ToUpper(strings.TrimSpace(keyword))
		if _, twice := keywords[keyword]; ok && !twice {
			keywords[keyword] = strings.TrimSpace(value)
		}
	}
	return keywords
}

// Diag is go_ibm_db.DiagRecord, cliError is go_ibm_db.Error.
type Diag struct {
	State       string
	NativeError int
	Message     string
}

type cliError struct {
	APIName string
	Diag    []Diag
}

func (e *cliError) Error() string {
	return fmt.Sprintf("%s: {%s} %s", e.APIName, e.Diag[0].State, e.Diag[0].Message)
}

func failed(state string, code int, message string) error {
	return &cliError{"SQLDriverConnect", []Diag{{state, code, "[IBM][CLI Driver] " + message}}}
}

// Texts of https://www.ibm.com/docs/en/db2/11.5?topic=messages-sql28000-sql33999.
func security(reason int, text string) error {
	return failed("08001", -30082, fmt.Sprintf("SQL30082N  Security processing failed with reason \"%d\" (%q).  SQLSTATE=08001\n", reason, text))
}

func network(err error) error {
	return failed("08001", -30081, "SQL30081N  A communication error has been detected. "+err.Error()+"  SQLSTATE=08001\n")
}

func (cliDriver) Open(s string) (sqldriver.Conn, error) {
	k := parseCLI(s)
	if k["PROTOCOL"] != "TCPIP" {
		return nil, failed("08001", -1013, "SQL1013N  The database alias name or database name could not be found.")
	}
	timeout := time.Minute
	if n, err := strconv.Atoi(k["CONNECTTIMEOUT"]); err == nil {
		timeout = time.Duration(n) * time.Second
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(k["HOSTNAME"], k["PORT"]), timeout)
	if err != nil {
		return nil, network(err)
	}
	_ = c.SetDeadline(time.Now().Add(timeout))
	var answer string
	if err = json.NewEncoder(c).Encode([]string{k["DATABASE"], k["UID"], k["PWD"]}); err == nil {
		answer, err = bufio.NewReader(c).ReadString('\n')
	}
	if err == nil && answer == "ok\n" {
		return &conn{c: c}, nil
	}
	_ = c.Close()
	switch {
	case err != nil:
		return nil, network(err)
	case answer == "no database\n":
		return nil, failed("08004", -30061, `SQL30061N  The database alias or database name "X" was not found at the remote node.  SQLSTATE=08004`)
	}
	return (*conn)(nil), security(24, "USERNAME AND/OR PASSWORD INVALID") // a typed nil, as drivers do
}

// A conn is the fake's connection; every query yields 1.
type conn struct{ c net.Conn }

func (c *conn) Prepare(string) (sqldriver.Stmt, error) { return stmt{}, nil }
func (c *conn) Close() error                           { return c.c.Close() }
func (c *conn) Begin() (sqldriver.Tx, error)           { return nil, io.ErrUnexpectedEOF }

type stmt struct{}

func (stmt) Close() error                                         { return nil }
func (stmt) NumInput() int                                        { return 0 }
func (stmt) Exec([]sqldriver.Value) (sqldriver.Result, error)     { return nil, io.ErrUnexpectedEOF }
func (stmt) Query(args []sqldriver.Value) (sqldriver.Rows, error) { return &rows{}, nil }

type rows struct{ done bool }

func (*rows) Columns() []string { return []string{"1"} }
func (*rows) Close() error      { return nil }
func (r *rows) Next(dest []sqldriver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done, dest[0] = true, int64(1)
	return nil
}

// A server is what the fake dials. It checks the user and the password and counts.
type server struct {
	Host string
	Port int

	mu        sync.Mutex
	passwords map[string]string
	accepted  map[string]int
	rejected  map[string]int
}

func startServer(tb testing.TB, addr string) *server {
	tb.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	a := l.Addr().(*net.TCPAddr)
	s := &server{Host: a.IP.String(), Port: a.Port,
		passwords: map[string]string{}, accepted: map[string]int{}, rejected: map[string]int{}}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	var login []string
	if json.NewDecoder(c).Decode(&login) != nil || len(login) != 3 {
		return
	}
	user, password := login[1], login[2]
	s.mu.Lock()
	answer := "ok\n"
	switch want, ok := s.passwords[user]; {
	case !ok || want != password:
		s.rejected[user]++
		answer = "rejected\n"
	case login[0] != database:
		answer = "no database\n"
	default:
		s.accepted[user]++
	}
	s.mu.Unlock()
	_, _ = io.WriteString(c, answer)
	_, _ = io.Copy(io.Discard, c)
}

const database = "SAMPLE"

func (s *server) setPassword(_ testing.TB, user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[user] = password
}

func (s *server) logins(_ testing.TB, user string) (accepted, rejected int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted[user], s.rejected[user]
}
