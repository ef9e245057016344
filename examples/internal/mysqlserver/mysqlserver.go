// Package mysqlserver runs a MySQL-compatible server in this process, for examples that need nothing
// but Go. The server checks passwords, which can change while it runs.
package mysqlserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"

	sqle "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"
	gmssql "github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/mysql_db"
	gomysql "github.com/go-sql-driver/mysql"
	"github.com/sirupsen/logrus"
)

// A Server is a MySQL-compatible server on loopback with one database.
type Server struct {
	Host string
	Port int

	server *server.Server
	admin  *sql.DB
	stop   func() error
}

// Start starts a server with an empty database of that name. The caller must call Close.
func Start(ctx context.Context, database string) (*Server, error) {
	logrus.SetOutput(io.Discard) // the server logs every connection
	provider := memory.NewDBProvider(memory.NewDatabase(database))
	engine := sqle.NewDefault(provider)
	users := engine.Analyzer.Catalog.MySQLDb
	users.SetEnabled(true)
	users.SetPersister(&mysql_db.NoopPersister{})
	users.AddRootAccount() // it has no password and logs in from localhost only

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(server.Config{Protocol: "tcp", Address: listener.Addr().String(), Listener: listener},
		engine, gmssql.NewContext, memory.NewSessionBuilder(provider), nil)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- s.Start() }()

	cfg := gomysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.DBName = "root", "tcp", listener.Addr().String(), database
	connector, err := gomysql.NewConnector(cfg)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	addr := listener.Addr().(*net.TCPAddr)
	srv := &Server{Host: addr.IP.String(), Port: addr.Port, server: s, admin: sql.OpenDB(connector)}
	srv.stop = sync.OnceValue(func() error {
		errs := []error{srv.admin.Close(), s.Close()}
		if err := <-done; err != nil && !strings.Contains(err.Error(), "closed") {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err := srv.admin.PingContext(ctx); err != nil {
		return nil, errors.Join(err, srv.Close())
	}
	slog.DebugContext(ctx, "MySQL-compatible server is up", "port", srv.Port)
	return srv, nil
}

// Close closes all connections and stops the server.
func (s *Server) Close() error { return s.stop() }

// Exec runs a statement as the administrator.
func (s *Server) Exec(ctx context.Context, statement string) error {
	_, err := s.admin.ExecContext(ctx, statement)
	return err
}

// CreateUser creates a user with all rights on the database.
func (s *Server) CreateUser(ctx context.Context, user, password string) error {
	if err := s.Exec(ctx, fmt.Sprintf("CREATE USER %s IDENTIFIED BY %s", quote(user), quote(password))); err != nil {
		return err
	}
	return s.Exec(ctx, fmt.Sprintf("GRANT ALL ON *.* TO %s", quote(user)))
}

// SetPassword changes a user's password. Open connections stay open.
func (s *Server) SetPassword(ctx context.Context, user, password string) error {
	return s.Exec(ctx, fmt.Sprintf("ALTER USER %s IDENTIFIED BY %s", quote(user), quote(password)))
}

// quote returns s as a string literal of MySQL.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(s) + "'"
}
