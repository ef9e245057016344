// Command production is the program of the README: an HTTP service with TLS to the database, pool
// settings, a health check, and a shutdown that lets running requests finish.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

var (
	dsn    = flag.String("dsn", "prod/app/db?sslmode=verify-full&sslrootcert=global-bundle.pem", "secret and parameters")
	listen = flag.String("listen", ":8080", "address of the HTTP server")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("the service failed", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	connector, err := postgres.NewConnector(*dsn, &driver.Options{Logger: slog.Default()})
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxOpenConns(20)                  // per process: all processes together stay below the limit of the server
	db.SetMaxIdleConns(20)                  // with the default of 2, a busy service logs in all the time
	db.SetConnMaxIdleTime(5 * time.Minute)  // closes connections that nobody uses
	db.SetConnMaxLifetime(15 * time.Minute) // a wrong password shows within minutes, not at the next restart

	mux := http.NewServeMux()
	mux.HandleFunc("GET /time", func(w http.ResponseWriter, r *http.Request) {
		var now time.Time
		if err := db.QueryRowContext(r.Context(), "SELECT now()").Scan(&now); err != nil {
			slog.Error("the query failed", "error", err)
			http.Error(w, "the query failed", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, now.Format(time.RFC3339))
	})
	// For the load balancer. Do not restart the service for it: a restart does not repair the database.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := db.PingContext(ctx); err != nil {
			slog.Error("the health check failed", "error", err)
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		}
	})

	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done(): // SIGTERM, or Ctrl+C
	}
	end, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return server.Shutdown(end) // waits for the requests that are running
}
