package main

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/XSAM/otelsql"
	gomysql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/ngrok/sqlmw"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
	"github.com/sqlsecrets/sqlsecrets/bench/internal/turns"
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// The limits of what Connect may cost in addition to the engine's own login.
const (
	mostConnectTime   = 1000 // ns
	mostConnectAllocs = 6
)

// connectModelled measures Connect on an engine whose logins take no time.
func connectModelled(ctx context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "connect-modelled", Title: "Connect on an engine that does nothing",
		Text: "`Connect` of a `driver.Connector` is compared with the engine's own login with a fixed password. The engine dials " +
			"nothing: it takes the password and returns a connection, which is 1 allocation. What is left is the library's own " +
			"cost. With many goroutines, the elapsed time is divided by the number of all Connect calls."}
	m := &model{}
	m.rotate("v1")
	cache := secretcache.New(m, nil)
	defer cache.Close()
	var failed firstError
	subjects, err := modelledSubjects(ctx, m, cache, &failed)
	if err != nil {
		return nil, err
	}
	for i, c := range []struct {
		label string
		opts  turns.Options
	}{
		{"1 goroutine", turns.Options{}},
		{fmt.Sprintf("64 goroutines on each of %d cores", runtime.GOMAXPROCS(0)), turns.Options{Goroutines: 64}},
	} {
		c.opts.Once = quick
		results := inTurns(c.label, subjects, &c.opts)
		s.Tables = append(s.Tables, comparison(c.label, results))
		s.Plots = append(s.Plots, bars("Connect, "+c.label, "ns", 1, results))
		if i == 0 {
			s.Targets = []report.Target{connectTarget(results[0], results[1])}
		}
	}
	for _, subjects := range preparations(&failed) {
		results := inTurns(subjects[0].Name, subjects, &turns.Options{Once: quick})
		s.Tables = append(s.Tables, comparison("Preparing a configuration, once for each endpoint", results))
	}
	return s, failed.err
}

func modelledSubjects(ctx context.Context, m *model, cache *secretcache.Cache, failed *firstError) ([]turns.Subject, error) {
	login, err := idleEngine{m}.Prepare(driver.Endpoint{})
	if err != nil {
		return nil, err
	}
	password := driver.NewPassword("password of v1")
	subjects := []turns.Subject{{Name: "the engine's own login", Op: func(n int) {
		for range n {
			_, err := login.Connect(ctx, driver.Credentials{User: "app", Password: password})
			failed.note(err)
		}
	}}}
	for _, c := range []struct {
		name string
		opts driver.Options
	}{
		{"sqlsecrets", driver.Options{Secrets: cache}},
		{"sqlsecrets, CloseSuperseded", driver.Options{Secrets: cache, CloseSuperseded: true}},
	} {
		connector, err := driver.NewConnector(idleEngine{m}, "prod/app", &c.opts)
		if err != nil {
			return nil, err
		}
		if _, err := connector.Connect(ctx); err != nil { // fills the cache
			return nil, err
		}
		subjects = append(subjects, turns.Subject{Name: c.name, Op: func(n int) {
			for range n {
				_, err := connector.Connect(ctx)
				failed.note(err)
			}
		}})
	}
	return subjects, nil
}

// preparations are subjects that make a configuration for an endpoint, for each vendor.
func preparations(failed *firstError) [][]turns.Subject {
	repeat := func(name string, op func() error) turns.Subject {
		return turns.Subject{Name: name, Op: func(n int) {
			for range n {
				failed.note(op())
			}
		}}
	}
	prepare := func(e driver.Engine, port int, params map[string]string) func() error {
		return func() error {
			_, err := e.Prepare(driver.Endpoint{Host: "db.test", Port: port, Database: "app", Params: params})
			return err
		}
	}
	return [][]turns.Subject{{
		repeat("pgx.ParseConfig", func() error {
			_, err := pgx.ParseConfig("host=db.test port=5432 dbname=app sslmode=require")
			return err
		}),
		repeat("pgxv5.Engine.Prepare", prepare(pgxv5.Engine{}, 5432, map[string]string{"sslmode": "require"})),
	}, {
		repeat("mysql.ParseDSN", func() error {
			_, err := gomysql.ParseDSN("tcp(db.test:3306)/app?parseTime=true")
			return err
		}),
		repeat("gosqldriver.Engine.Prepare", prepare(gosqldriver.Engine{}, 3306, map[string]string{"parseTime": "true"})),
	}}
}

func connectTarget(direct, ours turns.Result) report.Target {
	over, allocs := ours.Low-direct.Low, ours.Allocs-direct.Allocs
	t := report.Target{What: "`Connect` beyond the login, on an engine that does nothing",
		Want: fmt.Sprintf("at most %s and %d allocations", took(mostConnectTime), mostConnectAllocs),
		Got:  fmt.Sprintf("%s and %.0f allocations", took(over), allocs),
		Met:  over <= mostConnectTime && allocs < mostConnectAllocs+0.5}
	var missed []string
	if over > mostConnectTime {
		missed = append(missed, fmt.Sprintf("%s too slow", took(over-mostConnectTime)))
	}
	if !t.Met && allocs >= mostConnectAllocs+0.5 {
		missed = append(missed, fmt.Sprintf("%.0f allocations too many", allocs-mostConnectAllocs))
	}
	t.Missed = strings.Join(missed, ", ")
	return t
}

// A firstError keeps the first error of measured operations.
type firstError struct {
	once sync.Once
	err  error
}

func (f *firstError) note(err error) {
	if err != nil {
		f.once.Do(func() { f.err = err })
	}
}

// connectReal measures Connect on real servers.
func connectReal(ctx context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "connect", Title: "Connect on real servers",
		Text: "database/sql without idle connections, and pgxpool, open and close one connection. The library is compared with the " +
			"vendor's own connector with a fixed password, and with two libraries that wrap the vendor's connections: otelsql " +
			"(with OpenTelemetry's tracer that does nothing) and sqlmw. The last subject is the vendor's connector with a deadline " +
			"for each connection, because the library sets one. " + how,
		Absent: []string{noRefresh, noWrapper}}
	measure := func(label string, subjects []turns.Subject) {
		results := inTurns(label, subjects, oneByOne(quick, 100))
		s.Tables = append(s.Tables, comparison(label, results))
		s.Plots = append(s.Plots, bars("Opening and closing one connection, "+label, "ms", 1e6, results))
		s.Targets = append(s.Targets, notMeasurable("`Connect`, "+label, results[0], results[1], results[2]))
	}
	err := onServers(ctx, s, products, func(tb testing.TB, p *product) {
		d := newDatabase(tb, p)
		measure(p.name, openings(tb, d))
		if p.engine == "postgres" {
			measure("pgxpool", poolOpenings(tb, d))
		}
	})
	return s, err
}

// openings are subjects that open and close one connection.
func openings(tb testing.TB, d *database) []turns.Subject {
	var subjects []turns.Subject
	for _, db := range pools(tb, d) {
		db.SetMaxIdleConns(-1)
		subjects = append(subjects, turns.Subject{Name: db.name, Op: func(n int) {
			for range n {
				conn, err := db.Conn(tb.Context())
				if err != nil {
					tb.Fatal(err)
				}
				if err := conn.Close(); err != nil {
					tb.Fatal(err)
				}
			}
		}})
	}
	withDeadline := sql.OpenDB(d.vendorConnector(tb))
	tb.Cleanup(func() { _ = withDeadline.Close() })
	withDeadline.SetMaxIdleConns(-1)
	subjects = append(subjects, turns.Subject{Name: d.vendors + ", with a deadline", Op: func(n int) {
		for range n {
			ctx, cancel := context.WithTimeout(tb.Context(), driver.DefaultConnectTimeout)
			conn, err := withDeadline.Conn(ctx)
			cancel()
			if err != nil {
				tb.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				tb.Fatal(err)
			}
		}
	}})
	return subjects
}

// A namedPool is a subject's pool.
type namedPool struct {
	name string
	*sql.DB
}

// pools are two of the vendor, those of the library, and those that wrap the vendor's connections.
func pools(tb testing.TB, d *database) []namedPool {
	all := []namedPool{
		{d.vendors, sql.OpenDB(d.vendorConnector(tb))},
		{d.vendors + again, sql.OpenDB(d.vendorConnector(tb))},
		{"sqlsecrets", sql.OpenDB(d.connector(tb, false))},
		{"sqlsecrets, CloseSuperseded", sql.OpenDB(d.connector(tb, true))},
		{"otelsql", otelsql.OpenDB(d.vendorConnector(tb))},
		{"sqlmw", sql.OpenDB(sqlmwConnector(d.vendorConnector(tb)))},
	}
	for _, db := range all {
		tb.Cleanup(func() { _ = db.Close() })
		if err := db.PingContext(tb.Context()); err != nil { // fills the cache
			tb.Fatal(err)
		}
	}
	return all
}

// sqlmwConnector wraps a connector with sqlmw, which wraps drivers only.
func sqlmwConnector(c sqldriver.Connector) sqldriver.Connector {
	return openDriver{sqlmw.Driver(driverOf{c}, sqlmw.NullInterceptor{})}
}

// A driverOf is a driver whose connections a connector opens.
type driverOf struct{ sqldriver.Connector }

// Open ignores the name.
func (d driverOf) Open(string) (sqldriver.Conn, error) { return d.Connect(context.Background()) }

// An openDriver is a connector whose connections a driver opens.
type openDriver struct{ driver sqldriver.Driver }

func (c openDriver) Connect(context.Context) (sqldriver.Conn, error) { return c.driver.Open("") }
func (c openDriver) Driver() sqldriver.Driver                        { return c.driver }
