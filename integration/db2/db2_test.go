//go:build db2shim || db2

// Package db2_test runs the conformance suite through IBM's go_ibm_db: with the build tag
// db2shim on a stand-in for the C library that it calls, which the script "run" builds;
// with the tag db2, and IBM's own library as go_ibm_db's documentation has it installed,
// on a Db2 in a container. It is a module of its own since go_ibm_db does not compile
// without that library's headers.
package db2_test

import (
	"database/sql"
	"strings"
	"testing"

	_ "github.com/ibmdb/go_ibm_db"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
)

// suite is the suite for a server with a database SAMPLE, but for what makes users.
func suite(host string, port int) drivertest.Server {
	return drivertest.Server{
		Engine: db2.Engine{}, Host: host, Port: port, Database: "SAMPLE",
		Query: "VALUES 1", ConnType: "*go_ibm_db.Conn",
		Refuses: func(p string) bool {
			return strings.Contains(p, ";") || strings.TrimSpace(p) != p || strings.ContainsFunc(p, func(r rune) bool { return r > 0x7e }) || p[0] == '\''
		},
	}
}

func TestRegistered(t *testing.T) {
	if _, err := sql.Open(db2.DefaultDriver, ""); err != nil {
		t.Errorf("go_ibm_db does not register as %q: %v", db2.DefaultDriver, err)
	}
}
