// Command service is an HTTP service whose database is opened by the name of a secret. The password
// may rotate while the service runs. The example shows settings of the pool, pages for health and
// readiness, a structured log, and a shutdown without a failed request.
//
//	go run ./service -listen :8080 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
//
// It needs a table: CREATE TABLE service_orders (item text NOT NULL).
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(ctx, os.Args[1:], log); err != nil {
		log.Error("the service failed", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, log *slog.Logger) error {
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8080", "address")
	lifetime := flags.Duration("lifetime", 15*time.Minute, "how long a connection is used")
	drain := flags.Duration("drain", 5*time.Second, "how long the load balancer needs to notice that /ready fails")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: service [flags] secretID[?parameters]")
	}

	connector, err := postgres.NewConnector(flags.Arg(0), &driver.Options{Logger: log})
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxOpenConns(20) // all replicas together must stay below the server's limit
	db.SetMaxIdleConns(20) // with the default, 2, a busy service opens new connections all the time
	db.SetConnMaxIdleTime(5 * time.Minute)
	// Open connections keep working after the password has changed. So keep the lifetime well below
	// the time between rotations. Then, if a new password does not work, the service fails within
	// minutes and not at its next restart.
	db.SetConnMaxLifetime(*lifetime)

	s := &service{db: db, connector: connector, log: log}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	log.Info("listening", "address", listener.Addr().String())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	s.stopping.Store(true)
	time.Sleep(*drain) // requests still arrive
	end, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		return fmt.Errorf("some requests did not finish: %w", err)
	}
	log.Info("stopped")
	return nil
}
