// Package db2cli is a stand-in for a Db2 driver and its server. The driver reads connection strings
// as IBM documents them for its CLI, dials without a context, and fails with errors of go_ibm_db's
// form. The server checks passwords. They do not use Db2's protocol.
package db2cli

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	sqldriver "database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Driver is the driver. Its connections are *Conn.
type Driver struct{}

// Parse splits a connection string at each ";", and each part at the first "=". Keywords are in
// upper or lower case, and the first of equal keywords counts. Db2 removes spaces around values.
// There is no quoting. The returned keywords are in upper case.
func Parse(s string) map[string]string {
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

// Open opens a connection.
func (Driver) Open(s string) (sqldriver.Conn, error) {
	k := Parse(s)
	if k["PROTOCOL"] != "TCPIP" {
		return nil, Failed("08001", -1013, "SQL1013N  The database alias name or database name could not be found.")
	}
	timeout := time.Minute
	if n, err := strconv.Atoi(k["CONNECTTIMEOUT"]); err == nil {
		timeout = time.Duration(n) * time.Second
	}
	c, err := dial(k, timeout)
	if err != nil {
		return nil, network(err)
	}
	var answer string
	if err = json.NewEncoder(c).Encode([]string{k["DATABASE"], k["UID"], k["PWD"]}); err == nil {
		answer, err = bufio.NewReader(c).ReadString('\n')
	}
	if err == nil && answer == "ok\n" {
		return &Conn{c}, nil
	}
	_ = c.Close()
	switch {
	case err != nil:
		return nil, network(err)
	case answer == "no database\n":
		return nil, Failed("08004", -30061, `SQL30061N  The database alias or database name "X" was not found at the remote node.  SQLSTATE=08004`)
	case answer == "revoked\n":
		return nil, Security(19, "USERID DISABLED or RESTRICTED")
	}
	return (*Conn)(nil), Security(24, "USERNAME AND/OR PASSWORD INVALID") // a typed nil pointer, as some drivers return it
}

// dial dials the host, with TLS if Security says so: see
// https://www.ibm.com/docs/en/db2/11.5?topic=keywords-security-cliodbc-configuration-keyword.
func dial(k map[string]string, timeout time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(k["HOSTNAME"], k["PORT"]), timeout)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(timeout))
	if k["SECURITY"] != "SSL" {
		return c, nil
	}
	// Without a certificate, CLI trusts a root that it brings along, and never those of the system.
	roots := x509.NewCertPool()
	if file := k["SSLSERVERCERTIFICATE"]; file != "" {
		var data []byte
		if data, err = os.ReadFile(file); err == nil && !roots.AppendCertsFromPEM(data) {
			err = errors.New("GSKit Error: 408")
		}
	}
	secure := tls.Client(c, &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection verifies what CLI verifies
		VerifyConnection: func(s tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: roots}
			if strings.EqualFold(k["SSLCLIENTHOSTNAMEVALIDATION"], "Basic") { // the default is OFF
				o.DNSName, _, _ = strings.Cut(k["HOSTNAME"], "%")
			}
			_, err := s.PeerCertificates[0].Verify(o)
			return err
		},
	})
	if err == nil {
		err = secure.Handshake()
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return secure, nil
}

// A Conn is a connection of the driver. Every query returns 1.
type Conn struct{ c net.Conn }

// Prepare returns a statement.
func (c *Conn) Prepare(string) (sqldriver.Stmt, error) { return stmt{}, nil }

// Close closes the connection.
func (c *Conn) Close() error { return c.c.Close() }

// Begin fails.
func (c *Conn) Begin() (sqldriver.Tx, error) { return nil, io.ErrUnexpectedEOF }

type stmt struct{}

func (stmt) Close() error                                     { return nil }
func (stmt) NumInput() int                                    { return 0 }
func (stmt) Exec([]sqldriver.Value) (sqldriver.Result, error) { return nil, io.ErrUnexpectedEOF }
func (stmt) Query([]sqldriver.Value) (sqldriver.Rows, error)  { return &rows{}, nil }

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

// An Error has the fields of go_ibm_db.Error.
type Error struct {
	APIName string
	Diag    []DiagRecord
}

// A DiagRecord has the fields of go_ibm_db.DiagRecord.
type DiagRecord struct {
	State       string
	NativeError int
	Message     string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: {%s} %s", e.APIName, e.Diag[0].State, e.Diag[0].Message)
}

// Failed returns the error of a connection attempt that failed.
func Failed(state string, code int, message string) error {
	return &Error{"SQLDriverConnect", []DiagRecord{{state, code, "[IBM][CLI Driver] " + message}}}
}

// Security returns the error of a login, with a text of
// https://www.ibm.com/docs/en/db2/11.5?topic=messages-sql28000-sql33999.
func Security(reason int, text string) error {
	return Failed("08001", -30082, fmt.Sprintf("SQL30082N  Security processing failed with reason \"%d\" (%q).  SQLSTATE=08001\n", reason, text))
}

func network(err error) error {
	return Failed("08001", -30081, "SQL30081N  A communication error has been detected. "+err.Error()+"  SQLSTATE=08001\n")
}
