// Command quickstart shows what sqlsecrets is for. It needs nothing but Go.
//
// The program opens a database by the name of a secret and queries it from several workers.
// Meanwhile it changes the password three times, in the same steps as a rotation in AWS. The
// database and a stand-in for AWS Secrets Manager run in the same process.
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
	"strconv"
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
	// lifetime is how long a connection is used. It is very short here, so that the program logs in
	// all the time. In production it is minutes.
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

// A summary holds the numbers that run counted.
type summary struct {
	queries, failed               int64
	accepted, rejected, refreshes int64
	apiCalls, rotations           int
}

// run rotates the password as often as rotations says, and pauses before each step. It prints to
// out what happens, and returns the numbers.
func run(ctx context.Context, out io.Writer, rotations int, pause time.Duration) (*summary, error) {
	printIntroduction(out, rotations)

	// Part 1: what AWS runs for you, a database and Secrets Manager.
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
	secrets.PutVersion(secretID, "1", credentials(server, password), "AWSCURRENT")
	log.say("secret   %q holds the user and the password; version 1 is AWSCURRENT", secretID)

	// Part 2: what your program does. It opens the database by the secret's name.
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
	log.say("program  opened the database and found %d items", n)
	log.say("program  starts %d workers; each connection is replaced after %v, so new logins never stop", workers, lifetime)

	working, finish := context.WithCancel(ctx)
	defer finish()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { query(working, db, log, &s) })
	}

	// Part 3: what a rotation does, in the four steps of AWS's rotation functions.
	for i := range rotations {
		step := func(n int, text string) { log.say("rotation %d, step %d of 4: %s", i+1, n, text) }
		version := strconv.Itoa(i + 2)
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		password = fmt.Sprintf("rotated-password-%d", i+1)
		secrets.PutVersion(secretID, version, credentials(server, password), "AWSPENDING")
		step(1, "a new password is in the secret: version "+version+" is AWSPENDING")
		if err := errors.Join(sleep(ctx, pause), server.SetPassword(ctx, user, password)); err != nil {
			return nil, err
		}
		step(2, "the database has the new password, but AWSCURRENT still has the old one")
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		step(3, "a rotation function would test the new password here")
		secrets.MoveStage(secretID, "AWSCURRENT", version)
		step(4, "version "+version+" is AWSCURRENT; the rotation is complete")
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

// printIntroduction prints what will happen, and the words that the other lines use.
func printIntroduction(out io.Writer, rotations int) {
	fmt.Fprintf(out, `This program opens a MySQL database by the name of a secret and queries it from %d workers.
Meanwhile the password changes %d times, and every query must succeed.
The database and a stand-in for AWS Secrets Manager run in this process.

A secret has versions, and labels that say what each version is for:
  AWSCURRENT  the version that programs normally log in with
  AWSPENDING  the next version, while the password is being changed (a rotation)
Below, indented lines show what the library, sqlsecrets, does by itself.

`, workers, rotations)
}

// query queries until ctx ends.
func query(ctx context.Context, db *sql.DB, log *timeline, s *summary) {
	for ctx.Err() == nil {
		var name string
		err := db.QueryRowContext(ctx, "SELECT name FROM items WHERE id = 2").Scan(&name)
		if ctx.Err() != nil {
			return // the program ends, the query did not fail
		}
		atomic.AddInt64(&s.queries, 1)
		if err != nil {
			atomic.AddInt64(&s.failed, 1)
			log.say("QUERY FAILED: %v", err)
		}
	}
}

// tracer prints and counts what the connector does. All workers cause the same events, so each line
// is printed once.
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
				once("the database no longer accepts the password of version " + i.Version)
			case i.Err == nil:
				atomic.AddInt64(&s.accepted, 1)
				once(fmt.Sprintf("the database accepts logins with version %s (%s)", i.Version, i.Stage))
			}
		},
		RefreshDone: func(_ context.Context, i driver.RefreshInfo) {
			atomic.AddInt64(&s.refreshes, 1)
			switch {
			case i.Err == nil && i.Version == i.Rejected:
				once(fmt.Sprintf("the secret is read again: %s is still version %s", i.Stage, i.Version))
			case i.Err == nil:
				once(fmt.Sprintf("the secret is read again: %s is version %s", i.Stage, i.Version))
			case !errors.Is(i.Err, context.Canceled): // canceled: no Connect call waits for it any more
				log.say("  REFRESH FAILED: %s: %v", i.Stage, i.Err)
			}
		},
	}
}

// print prints the numbers. If no query failed, it also prints what they prove.
func (s *summary) print(out io.Writer) {
	fmt.Fprintf(out, `
%10d password changes (rotations)
%10d queries
%10d logins that the database accepted
%10d logins with an old password, each repeated with the new one
%10d times the secret was read again after such a login, for all connections together
%10d calls of Secrets Manager (GetSecretValue)
`, s.rotations, s.queries, s.accepted, s.rejected, s.refreshes, s.apiCalls)
	if s.failed == 0 && s.queries > 0 && s.rejected > 0 {
		fmt.Fprintf(out, "\nProved: the password changed %d times under %d workers, and all %d queries succeeded.\n", s.rotations, workers, s.queries)
	}
}

// credentials returns a database's secret: the JSON object that AWS keeps for it.
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

// A timeline prints lines, each with the time since its start.
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
