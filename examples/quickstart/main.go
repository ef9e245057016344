// Command quickstart shows what sqlsecrets is for, with nothing but Go: it opens
// a database by the name of a secret, queries it from several workers, and
// changes the password under them, three times, as a rotation does. The database
// and the Secrets Manager run in this process.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql"
	"github.com/sqlsecrets/sqlsecrets/examples/internal/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const (
	secretID = "prod/shop/db"
	user     = "shop"
	database = "shop"
	workers  = 8
	// A connection lives so long, so that there are always new ones; in
	// production it is minutes.
	lifetime = 25 * time.Millisecond
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	result, err := run(ctx, os.Stdout, 3, 300*time.Millisecond)
	switch {
	case ctx.Err() != nil:
		err = errors.New("interrupted")
	case err == nil && result.failed > 0:
		err = fmt.Errorf("%d queries failed", result.failed)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// A summary is what run counted.
type summary struct {
	queries, failed               int64
	accepted, rejected, refreshes int64
	apiCalls, rotations           int
}

// run does it all: rotations of them, each step pause after the one before.
func run(ctx context.Context, out io.Writer, rotations int, pause time.Duration) (*summary, error) {
	// What AWS would run for you: a database and a Secrets Manager.
	server, err := mysqlserver.Start(ctx, database)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	secrets := awssmtest.NewServer(nil)
	defer secrets.Close()
	password := "first-password"
	if err := errors.Join(
		server.CreateUser(ctx, user, password),
		server.Exec(ctx, "CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(20))"),
		server.Exec(ctx, "INSERT INTO items VALUES (1, 'apple'), (2, 'pear'), (3, 'quince')"),
	); err != nil {
		return nil, err
	}
	log := &timeline{out: out, start: time.Now()}
	first := secrets.Put(secretID, credentials(server, password))
	log.say("secret %q: version %s is AWSCURRENT", secretID, short(first))

	// What your program does: it opens the database by the secret's name.
	var s summary
	cache := secretcache.New(secrets.Source(), nil)
	defer cache.Close()
	connector, err := mysql.NewConnector(secretID, &driver.Options{Secrets: cache, Trace: tracer(log, &s)})
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetConnMaxLifetime(lifetime)
	db.SetMaxOpenConns(workers)
	var n int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM items").Scan(&n); err != nil {
		return nil, err
	}
	log.say("program: SELECT COUNT(*) FROM items = %d; %d workers go on querying, each connection for %v", n, workers, lifetime)

	working, finish := context.WithCancel(ctx)
	defer finish()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { query(working, db, log, &s) })
	}

	// What a rotation does, in the four steps of AWS's rotation functions.
	for i := range rotations {
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		password = fmt.Sprintf("rotated-password-%d", i+1)
		next := secrets.PutStage(secretID, credentials(server, password), "AWSPENDING")
		log.say("rotation %d: create  version %s is AWSPENDING", i+1, short(next))
		if err := errors.Join(sleep(ctx, pause), server.SetPassword(ctx, user, password)); err != nil {
			return nil, err
		}
		log.say("rotation %d: set     the database has the new password, the secret still the old one", i+1)
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		log.say("rotation %d: test    (the rotation function logs in)", i+1)
		secrets.MoveStage(secretID, "AWSCURRENT", next)
		log.say("rotation %d: finish  version %s is AWSCURRENT", i+1, short(next))
		s.rotations++
	}
	if err := sleep(ctx, pause); err != nil {
		return nil, err
	}
	finish()
	wg.Wait()
	s.apiCalls = secrets.Calls("GetSecretValue")
	s.print(out)
	return &s, nil
}

// query queries until ctx ends.
func query(ctx context.Context, db *sql.DB, log *timeline, s *summary) {
	for ctx.Err() == nil {
		var name string
		err := db.QueryRowContext(ctx, "SELECT name FROM items WHERE id = 2").Scan(&name)
		if ctx.Err() != nil {
			return // the end of the program, not of a query
		}
		atomic.AddInt64(&s.queries, 1)
		if err != nil {
			atomic.AddInt64(&s.failed, 1)
			log.say("QUERY FAILED: %v", err)
		}
	}
}

// tracer tells and counts what the connector does. The workers' connections share it, so each
// line is printed once.
func tracer(log *timeline, s *summary) *driver.Trace {
	var said sync.Map
	once := func(line string) {
		if _, again := said.LoadOrStore(line, true); !again {
			log.say("  %s", line)
		}
	}
	return &driver.Trace{
		LoginDone: func(_ context.Context, i driver.LoginInfo) {
			switch {
			case i.Rejected:
				atomic.AddInt64(&s.rejected, 1)
				once("the database no longer accepts version " + short(i.Version))
			case i.Err == nil:
				atomic.AddInt64(&s.accepted, 1)
				once(fmt.Sprintf("logins accepted with version %s (%s)", short(i.Version), i.Stage))
			}
		},
		RefreshDone: func(_ context.Context, i driver.RefreshInfo) {
			atomic.AddInt64(&s.refreshes, 1)
			switch {
			case i.Err == nil:
				once(fmt.Sprintf("refresh: %s is version %s", i.Stage, short(i.Version)))
			case !errors.Is(i.Err, context.Canceled): // canceled: nobody waits for it any more
				log.say("  REFRESH FAILED: %s: %v", i.Stage, i.Err)
			}
		},
	}
}

// print prints the numbers and, if they prove it, what they prove.
func (s *summary) print(out io.Writer) {
	fmt.Fprintf(out, `
%10d rotations
%10d queries
%10d logins accepted
%10d logins with a password that was no longer right, each repeated with the new one
%10d refreshes of the secret, all connections together
%10d calls of GetSecretValue
`, s.rotations, s.queries, s.accepted, s.rejected, s.refreshes, s.apiCalls)
	if s.failed == 0 && s.queries > 0 && s.rejected > 0 {
		fmt.Fprintf(out, "\nProved: the password changed %d times under %d workers, and all %d queries succeeded.\n", s.rotations, workers, s.queries)
	}
}

// credentials returns the JSON that Secrets Manager keeps for a database.
func credentials(server *mysqlserver.Server, password string) string {
	b, err := json.Marshal(map[string]any{
		"engine": "mysql", "host": server.Host, "port": server.Port,
		"username": user, "password": password, "dbname": database,
	})
	if err != nil {
		panic(err) // a map of strings and a number
	}
	return string(b)
}

// short returns the beginning of a version's id.
func short(version string) string { return version[:min(8, len(version))] }

// A timeline prints lines with the time since its start.
type timeline struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func (l *timeline) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%6.2fs  %s\n", time.Since(l.start).Seconds(), fmt.Sprintf(format, args...))
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
