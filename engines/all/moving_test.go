package all_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/microsoft/go-mssqldb/msdsn"
	goora "github.com/sijms/go-ora/v2"

	"github.com/sqlsecrets/sqlsecrets/engines/all"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An account has everything in the data source name of a vendor's driver except the parameters.
type account struct {
	Host     string
	Port     int
	DBName   string
	Username string
	Password string
}

// vendors has the parsers of the vendors' drivers.
var vendors = map[string]func(dsn string) (account, error){
	"pgx": func(dsn string) (account, error) {
		// The test has no such file.
		c, err := pgx.ParseConfig(strings.Replace(dsn, "&sslrootcert=/etc/rds.pem", "", 1))
		if err != nil {
			return account{}, err
		}
		return account{c.Host, int(c.Port), c.Database, c.User, c.Password}, nil
	},
	"go-sql-driver/mysql": func(dsn string) (account, error) {
		c, err := gomysql.ParseDSN(dsn)
		if err != nil {
			return account{}, err
		}
		host, port, err := net.SplitHostPort(c.Addr)
		number, _ := strconv.Atoi(port)
		return account{host, number, c.DBName, c.User, c.Passwd}, err
	},
	"go-mssqldb": func(dsn string) (account, error) {
		c, err := msdsn.Parse(dsn)
		return account{c.Host, int(c.Port), c.Database, c.User, c.Password}, err
	},
	"go-ora": func(dsn string) (account, error) {
		c, err := goora.ParseConfig(dsn)
		if err != nil || len(c.Servers) != 1 {
			return account{}, errors.Join(err, errors.New("not one server"))
		}
		return account{c.Servers[0].Addr, c.Servers[0].Port, c.ServiceName, c.UserID, c.Password}, nil
	},
	"go_ibm_db": func(dsn string) (a account, err error) {
		for pair := range strings.SplitSeq(dsn, ";") {
			key, value, _ := strings.Cut(pair, "=")
			switch key {
			case "HOSTNAME":
				a.Host = value
			case "PORT":
				a.Port, err = strconv.Atoi(value)
			case "DATABASE":
				a.DBName = value
			case "UID":
				a.Username = value
			case "PWD":
				a.Password = value
			}
		}
		return a, err
	},
}

// In each row of the table in docs/moving.md, the old data source name and the secret have the same user,
// password, host, port and database. sql.Open accepts the new data source name, and the secret names its
// engine.
func TestMovingRows(t *testing.T) {
	page, err := os.ReadFile("../../docs/moving.md")
	if err != nil {
		t.Fatal(err)
	}
	var secret string
	engines := map[string]bool{}
	for i, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if len(cells) != 4 || !strings.Contains(cells[3], "`prod/app/db") {
			continue
		}
		before, after := codes(cells[1])[0], codes(cells[3])[0]
		if cells[2] != "the same" {
			secret = codes(cells[2])[0]
		}
		driver, _, _ := strings.Cut(strings.TrimSpace(cells[0]), ",")
		parse := vendors[driver]
		if parse == nil {
			t.Errorf("docs/moving.md:%d: no test for the driver %q", i+1, driver)
			continue
		}
		had, err := parse(before)
		if err != nil {
			t.Errorf("docs/moving.md:%d: %v", i+1, err)
		}
		var stored struct {
			account
			Engine string
		}
		if err := json.Unmarshal([]byte(secret), &stored); err != nil {
			t.Errorf("docs/moving.md:%d: %v", i+1, err)
		}
		if had != stored.account {
			t.Errorf("docs/moving.md:%d: before %+v, in the secret %+v", i+1, had, stored.account)
		}
		engines[stored.Engine] = true
		for _, name := range []string{"secretsmanager-" + stored.Engine, all.DriverName} {
			db, err := sql.Open(name, after)
			if err != nil {
				t.Errorf("docs/moving.md:%d: sql.Open(%q, %q): %v", i+1, name, after, err)
				continue
			}
			_ = db.Close()
		}
		c, err := all.NewConnector(after, nil)
		if err != nil {
			t.Errorf("docs/moving.md:%d: %v", i+1, err)
			continue
		}
		e, err := c.Explain(secretcache.NewSecret(secretcache.Value{String: secret}))
		if want := net.JoinHostPort(had.Host, strconv.Itoa(had.Port)); err != nil || e.Engine != stored.Engine || e.Address != want || len(e.Params) == 0 {
			t.Errorf("docs/moving.md:%d: %+v, %v, want %s at %s", i+1, e, err, stored.Engine, want)
		}
		for key, value := range e.Params {
			if !strings.Contains(before, key+"="+value) {
				t.Errorf("docs/moving.md:%d: %s=%s is new", i+1, key, value)
			}
		}
	}
	if len(engines) != len(drivers) {
		t.Errorf("the page has %d engines, want %d", len(engines), len(drivers))
	}
}
