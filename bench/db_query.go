package main

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

// queries measures SELECT 1 on open connections.
func queries(ctx context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "query", Title: "Queries on real servers",
		Text: "`SELECT 1` on an open connection: as text, and as a prepared statement. `Connect` returns the vendor's own " +
			"connection, so a query costs as much as with the vendor's driver. otelsql and sqlmw wrap the connection. " + how}
	measure := func(label string, subjects []turns.Subject) {
		results := inTurns(label, subjects, inSlices(quick))
		s.Tables = append(s.Tables, comparison(label, results))
		s.Plots = append(s.Plots, bars("SELECT 1, "+label, "µs", 1e3, results))
		s.Targets = append(s.Targets, notMeasurable("query, "+label, results[0], results[1], results[2]))
	}
	err := onServers(ctx, s, products, func(tb testing.TB, p *product) {
		d := newDatabase(tb, p)
		dbs := pools(tb, d)
		measure(p.name, rowQueries(tb, dbs))
		measure(p.name+", prepared", preparedQueries(tb, dbs))
		if p.engine == "postgres" {
			measure("pgxpool", poolQueries(tb, d))
		}
	})
	return s, err
}

// A row is an sql.Row or a pgx.Row.
type row interface{ Scan(dest ...any) error }

// selecting is a subject that reads the row of SELECT 1.
func selecting(tb testing.TB, name string, query func() row) turns.Subject {
	return turns.Subject{Name: name, Op: func(n int) {
		for range n {
			var one int
			if err := query().Scan(&one); err != nil || one != 1 {
				tb.Fatalf("SELECT 1 = %d, %v", one, err)
			}
		}
	}}
}

func rowQueries(tb testing.TB, dbs []namedPool) []turns.Subject {
	var subjects []turns.Subject
	for _, db := range dbs {
		db.SetMaxOpenConns(1)
		subjects = append(subjects, selecting(tb, db.name, func() row { return db.QueryRowContext(tb.Context(), "SELECT 1") }))
	}
	return subjects
}

func preparedQueries(tb testing.TB, dbs []namedPool) []turns.Subject {
	var subjects []turns.Subject
	for _, db := range dbs {
		db.SetMaxOpenConns(1)
		stmt, err := db.PrepareContext(tb.Context(), "SELECT 1")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = stmt.Close() })
		subjects = append(subjects, selecting(tb, db.name, func() row { return stmt.QueryRowContext(tb.Context()) }))
	}
	return subjects
}

// poolQueries are queries through pgxpool.
func poolQueries(tb testing.TB, d *database) []turns.Subject {
	var subjects []turns.Subject
	for _, pool := range pgxPools(tb, d) {
		subjects = append(subjects, selecting(tb, pool.name, func() row { return pool.QueryRow(tb.Context(), "SELECT 1") }))
	}
	return subjects
}

// poolOpenings open and close one connection of a pgxpool.
func poolOpenings(tb testing.TB, d *database) []turns.Subject {
	var subjects []turns.Subject
	for _, pool := range pgxPools(tb, d) {
		pool.Reset() // closes the idle connection
		subjects = append(subjects, turns.Subject{Name: pool.name, Op: func(n int) {
			for range n {
				conn, err := pool.Acquire(tb.Context())
				if err != nil {
					tb.Fatal(err)
				}
				if err := conn.Hijack().Close(tb.Context()); err != nil {
					tb.Fatal(err)
				}
			}
		}})
	}
	return subjects
}

// A namedPgxPool is a subject's pgxpool.
type namedPgxPool struct {
	name string
	*pgxpool.Pool
}

// pgxPools are two plain pools and the library's pool. Each has one connection.
func pgxPools(tb testing.TB, d *database) []namedPgxPool {
	all := []namedPgxPool{{name: "pgxpool"}, {name: "pgxpool" + again}, {name: "sqlsecrets, NewPool"}}
	for i := range all {
		var err error
		if i == 2 {
			all[i].Pool, err = postgres.NewPool(tb.Context(), d.dsn(), d.options(tb), func(c *pgxpool.Config) error {
				c.MaxConns = 1
				return nil
			})
		} else {
			all[i].Pool, err = plainPool(tb.Context(), d)
		}
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(all[i].Close)
		if err := all[i].Ping(tb.Context()); err != nil { // opens the connection
			tb.Fatal(err)
		}
	}
	return all
}

func plainPool(ctx context.Context, d *database) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, err
	}
	if c.ConnConfig, err = pgxConfig(d.Server, d.user, d.password); err != nil {
		return nil, err
	}
	c.MaxConns = 1
	return pgxpool.NewWithConfig(ctx, c)
}
