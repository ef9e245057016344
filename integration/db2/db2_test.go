//go:build db2shim || db2

// Package db2_test runs the conformance suite with IBM's go_ibm_db. With the build tag db2shim it
// uses a stand-in for the C library that go_ibm_db calls; the script "run" builds it. With the tag
// db2 it uses IBM's own library, installed as go_ibm_db's documentation says, and a Db2 in a
// container. It is a module of its own because go_ibm_db does not compile without the headers of
// that library.
package db2_test

import (
	"database/sql"
	"strings"
	"testing"

	_ "github.com/ibmdb/go_ibm_db"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
)

// suite returns the suite for a server with a database SAMPLE. The caller adds how users are made.
func suite(host string, port int) drivertest.Server {
	return drivertest.Server{
		Engine: db2.Engine{}, Host: host, Port: port, Database: "SAMPLE",
		Query: "VALUES 1", ConnType: "*go_ibm_db.Conn",
		Refuses: func(p string) bool {
			return strings.Contains(p, ";") || strings.TrimSpace(p) != p || strings.ContainsFunc(p, func(r rune) bool { return r > 0x7e }) || p[0] == '\''
		},
	}
}

func TestGoIBMDBRegistersTheDefaultDriver(t *testing.T) {
	if _, err := sql.Open(db2.DefaultDriver, ""); err != nil {
		t.Errorf("go_ibm_db does not register as %q: %v", db2.DefaultDriver, err)
	}
}
