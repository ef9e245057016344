package driver_test

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A vendorError is an error of the fake database. It stands for *pgconn.PgError or *mysql.MySQLError.
type vendorError struct {
	Code    int
	Message string
}

func (e *vendorError) Error() string { return fmt.Sprintf("vendor: %s (%d)", e.Message, e.Code) }

const (
	codeRejected   = 1045
	codeNoDatabase = 1049
	codeLocked     = 3118
)

// A login is a login that reached the fake database.
type login struct {
	n              int // in the order of arrival
	addr           string
	user, password string
	begin, end     time.Time // end is zero while the login is under way
	err            error
}

func (l *login) rejected() bool {
	v := (*vendorError)(nil)
	return errors.As(l.err, &v) && v.Code == codeRejected
}

// A database is a fake server that checks users and passwords.
type database struct {
	mu       sync.Mutex
	users    map[string]string // by user, the password
	logins   []*login
	inFlight int
	most     int // largest number of logins in flight at once

	// latency returns how long the n-th login takes; nil means no time. The password is checked
	// halfway, or at the begin if early is set.
	latency func(n int) time.Duration
	early   bool
	// fault is called before the check of the password. Its error ends the login, unless it is nil.
	fault func(ctx context.Context, l *login) error
}

func newDatabase(users ...string) *database {
	db := &database{users: map[string]string{}}
	for i := 0; i < len(users); i += 2 {
		db.users[users[i]] = users[i+1]
	}
	return db
}

func (db *database) set(user, password string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.users[user] = password
}

func (db *database) setFault(f func(context.Context, *login) error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.fault = f
}

// log returns copies of all logins so far.
func (db *database) log() []login {
	db.mu.Lock()
	defer db.mu.Unlock()
	ls := make([]login, len(db.logins))
	for i, l := range db.logins {
		ls[i] = *l
	}
	return ls
}

// count returns how many logins there were, and how many of them were rejected.
func (db *database) count() (all, rejected int) {
	for _, l := range db.log() {
		all++
		if l.rejected() {
			rejected++
		}
	}
	return all, rejected
}

func (db *database) login(ctx context.Context, addr, user, password string) (err error) {
	db.mu.Lock()
	l := &login{n: len(db.logins), addr: addr, user: user, password: password, begin: time.Now()}
	db.logins = append(db.logins, l)
	db.inFlight++
	db.most = max(db.most, db.inFlight)
	fault, latency := db.fault, time.Duration(0)
	if db.latency != nil {
		latency = db.latency(l.n)
	}
	before := latency / 2
	if db.early {
		before = 0
	}
	db.mu.Unlock()
	defer func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		l.end, l.err = time.Now(), err
		db.inFlight--
	}()
	if err := wait(ctx, before); err != nil {
		return err
	}
	if fault != nil {
		if err := fault(ctx, l); err != nil {
			return err
		}
	}
	db.mu.Lock()
	want, ok := db.users[user]
	db.mu.Unlock()
	if err := wait(ctx, latency-before); err != nil {
		return err
	}
	if !ok || want != password {
		return &vendorError{codeRejected, "access denied for user " + user}
	}
	return nil
}

// hang is a fault: the login hangs until its context ends.
func hang(ctx context.Context, _ *login) error {
	<-ctx.Done()
	return fmt.Errorf("vendor: handshake: %w", ctx.Err())
}

// always returns a fault that fails all logins with err.
func always(err error) func(context.Context, *login) error {
	return func(context.Context, *login) error { return err }
}

// forLogin, forPassword and forAddress restrict a fault to the n-th login, to logins with a password and
// to logins at an address.
func forLogin(n int, fault func(context.Context, *login) error) func(context.Context, *login) error {
	return only(func(l *login) bool { return l.n == n }, fault)
}

func forPassword(password string, fault func(context.Context, *login) error) func(context.Context, *login) error {
	return only(func(l *login) bool { return l.password == password }, fault)
}

func forAddress(addr string, fault func(context.Context, *login) error) func(context.Context, *login) error {
	return only(func(l *login) bool { return l.addr == addr }, fault)
}

func only(those func(*login) bool, fault func(context.Context, *login) error) func(context.Context, *login) error {
	return func(ctx context.Context, l *login) error {
		if !those(l) {
			return nil
		}
		return fault(ctx, l)
	}
}

// wait sleeps for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An engine is a fake driver.Engine that logs in to a database.
type engine struct {
	info      driver.Info
	db        *database
	parseURL  func(url string, own func(string) bool) (driver.URL, error)
	allowed   []string // parameters; nil allows all
	prepare   func(driver.Endpoint) error
	elsewhere bool // another server checks passwords

	mu        sync.Mutex
	endpoints []driver.Endpoint // arguments of Prepare
}

var _ driver.Engine = (*engine)(nil)

func (e *engine) Info() driver.Info { return e.info }

func (e *engine) ParseURL(url string, own func(string) bool) (driver.URL, error) {
	if e.parseURL != nil {
		return e.parseURL(url, own)
	}
	return parseURL(url, own)
}

func (e *engine) CheckParams(params map[string]string) error {
	for key := range params {
		if e.allowed != nil && !slices.Contains(e.allowed, key) {
			return fmt.Errorf("parameter %q is unknown", key)
		}
	}
	return nil
}

func (e *engine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	e.mu.Lock()
	e.endpoints = append(e.endpoints, ep)
	e.mu.Unlock()
	if e.prepare != nil {
		if err := e.prepare(ep); err != nil {
			return nil, err
		}
	}
	return &fakeLogin{e.db, ep.Host + ":" + strconv.Itoa(ep.Port)}, nil
}

func (e *engine) Rejected(err error) bool {
	v := (*vendorError)(nil)
	return errors.As(err, &v) && v.Code == codeRejected
}

func (e *engine) NoDatabase(err error) bool {
	v := (*vendorError)(nil)
	return errors.As(err, &v) && v.Code == codeNoDatabase
}

func (e *engine) AccountLocked(err error) bool {
	v := (*vendorError)(nil)
	return errors.As(err, &v) && v.Code == codeLocked
}

func (e *engine) CheckedElsewhere(error) bool { return e.elsewhere }

type fakeLogin struct {
	db   *database
	addr string
}

func (l *fakeLogin) Connect(ctx context.Context, c driver.Credentials) (sqldriver.Conn, error) {
	if err := l.db.login(ctx, l.addr, c.User, c.Password.Reveal()); err != nil {
		return (*conn)(nil), err // a typed nil, as some vendors' drivers return it
	}
	return &conn{user: c.User, addr: l.addr, password: c.Password.Reveal(), superseded: c.Superseded}, nil
}

// A conn is a connection of the fake vendor's driver.
type conn struct {
	user, addr, password string
	superseded           func() bool
	closed               bool
}

func (c *conn) Prepare(string) (sqldriver.Stmt, error) {
	return nil, errors.New("not a real connection")
}
func (c *conn) Begin() (sqldriver.Tx, error) { return nil, errors.New("not a real connection") }
func (c *conn) Close() error                 { c.closed = true; return nil }

func (c *conn) ResetSession(context.Context) error {
	if c.superseded != nil && c.superseded() {
		return sqldriver.ErrBadConn
	}
	return nil
}

// parseURL parses scheme://host:port/database?user=…&key=value.
func parseURL(s string, own func(string) bool) (driver.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil {
		return driver.URL{}, errors.New("the URL is not well-formed")
	}
	r := driver.URL{Host: u.Hostname(), Database: strings.TrimPrefix(u.Path, "/"), Params: map[string]string{}}
	if u.Port() != "" {
		if r.Port, err = strconv.Atoi(u.Port()); err != nil {
			return driver.URL{}, errors.New("the URL's port is not a number")
		}
	}
	for key, values := range u.Query() {
		switch {
		case key == "user":
			r.SecretID = values[0]
		case key == "password":
			return driver.URL{}, errors.New(`property "password" is not allowed`)
		default:
			_ = own(key)
			r.Params[key] = values[0]
		}
	}
	return r, nil
}

// accepts returns an Info.Accepts that accepts names. A name that ends in "*" stands for all names with that
// beginning.
func accepts(names ...string) func(string) bool {
	return func(s string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			prefix, ok := strings.CutSuffix(name, "*")
			return s == name || ok && strings.HasPrefix(s, prefix)
		})
	}
}

// infos are the engines of the table in docs/design.md.
var infos = map[string]driver.Info{
	"postgres":  {Name: "postgres", Schemes: []string{"postgresql"}, Accepts: accepts("postgres", "postgresql", "aurora-postgresql"), Port: 5432, Database: "postgres", ClosesSuperseded: true},
	"redshift":  {Name: "redshift", Schemes: []string{"redshift"}, Accepts: accepts("redshift"), Port: 5439, DatabaseRequired: true},
	"mysql":     {Name: "mysql", Schemes: []string{"mysql"}, Accepts: accepts("mysql", "mariadb", "aurora", "aurora-mysql"), Port: 3306, ClosesSuperseded: true},
	"mariadb":   {Name: "mariadb", Schemes: []string{"mariadb"}, Accepts: accepts("mysql", "mariadb", "aurora", "aurora-mysql"), Port: 3306},
	"oracle":    {Name: "oracle", Schemes: []string{"oracle"}, Accepts: accepts("oracle*", "custom-oracle*"), Port: 1521, DatabaseRequired: true, MaxLogins: 3},
	"sqlserver": {Name: "sqlserver", Schemes: []string{"sqlserver"}, Accepts: accepts("sqlserver*", "custom-sqlserver*"), Port: 1433, Database: "master", MaxLogins: 3},
	"db2":       {Name: "db2", Schemes: []string{"db2"}, Accepts: accepts("db2*"), Port: 50000, DatabaseRequired: true, MaxLogins: 3},
}

func newEngine(name string, db *database) *engine {
	info, ok := infos[name]
	if !ok {
		panic("no engine " + name)
	}
	return &engine{info: info, db: db}
}

// A fetch is a call of the fake source.
type fetch struct {
	id, stage string
	at        time.Time
}

// A store is a fake secretcache.Source. It has one secret, which it returns for every id.
type store struct {
	mu       sync.Mutex
	versions map[string]string // value by version id
	stages   map[string]string // version id by stage
	moved    map[string][]time.Time
	fetches  []fetch
	latency  time.Duration
	fault    func(ctx context.Context, stage string) error
}

var _ secretcache.Source = (*store)(nil)

// newStore returns a store whose AWSCURRENT is version "v1" with value.
func newStore(value string) *store {
	s := &store{versions: map[string]string{}, stages: map[string]string{}, moved: map[string][]time.Time{}}
	s.put("v1", value, "AWSCURRENT")
	return s
}

// put adds a version and moves a stage to it.
func (s *store) put(version, value, stage string) {
	s.mu.Lock()
	s.versions[version] = value
	s.mu.Unlock()
	s.move(stage, version)
}

// move moves a stage as Secrets Manager does. If AWSCURRENT moves, AWSPREVIOUS moves to the version that had
// it, and AWSPENDING is removed from the version that gets it. An empty version removes the stage.
func (s *store) move(stage, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stage == "AWSCURRENT" {
		if old := s.stages[stage]; old != "" && old != version {
			s.stages["AWSPREVIOUS"] = old
		}
		if s.stages["AWSPENDING"] == version {
			delete(s.stages, "AWSPENDING")
		}
	}
	s.moved[version] = append(s.moved[version], time.Now())
	if version == "" {
		delete(s.stages, stage)
		return
	}
	s.stages[stage] = version
}

func (s *store) setFault(f func(ctx context.Context, stage string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// failStage makes the fetches of one stage fail.
func (s *store) failStage(stage string, err error) {
	s.setFault(func(_ context.Context, fetched string) error {
		if fetched != stage {
			return nil
		}
		return err
	})
}

// calls returns the number of fetches of one stage, or of all stages if stage is empty.
func (s *store) calls(stage string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.fetches {
		if stage == "" || f.stage == stage {
			n++
		}
	}
	return n
}

func (s *store) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	s.mu.Lock()
	s.fetches = append(s.fetches, fetch{id, stage, time.Now()})
	latency, fault := s.latency, s.fault
	s.mu.Unlock()
	if err := wait(ctx, latency/2); err != nil {
		return nil, err
	}
	if fault != nil {
		if err := fault(ctx, stage); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	version := s.stages[stage]
	value := s.versions[version]
	s.mu.Unlock()
	if err := wait(ctx, latency-latency/2); err != nil {
		return nil, err
	}
	if version == "" {
		return nil, fmt.Errorf("secret %q: %w", id, secretcache.ErrNoVersion)
	}
	return secretcache.NewSecret(secretcache.Value{ID: id, Name: id, VersionID: version, String: value}), nil
}

// credentials returns the value of a secret.
func credentials(user, password string) string {
	return fmt.Sprintf(`{"host":"db.example.com","username":%q,"password":%q}`, user, password)
}

// A bench is a connector with fakes for everything around it.
type bench struct {
	*driver.Connector
	db     *database
	store  *store
	cache  *secretcache.Cache
	engine *engine
	opts   driver.Options
}

// newBench returns a bench whose database and version "v1" have the user "app" with the password "pw1".
// setup may change the options and the data source name.
func newBench(t testing.TB, setup ...func(b *bench, dsn *string)) *bench {
	t.Helper()
	db := newDatabase("app", "pw1")
	b := &bench{db: db, store: newStore(credentials("app", "pw1")), engine: newEngine("mysql", db)}
	dsn := "prod/app"
	for _, f := range setup {
		f(b, &dsn)
	}
	if b.cache == nil {
		b.cache = secretcache.New(b.store, nil)
	}
	if b.opts.Secrets == nil {
		b.opts.Secrets = b.cache
	}
	t.Cleanup(func() { _ = b.cache.Close() }) // ends fetches that nobody waits for
	c, err := driver.NewConnector(b.engine, dsn, &b.opts)
	if err != nil {
		t.Fatal(err)
	}
	b.Connector = c
	return b
}

// wrongPassword and the funcs after it are setups for newBench. With wrongPassword the database rejects the
// secret's password.
func wrongPassword(b *bench, _ *string) { b.db.set("app", "other") }

func withDSN(dsn string) func(*bench, *string) {
	return func(_ *bench, d *string) { *d = dsn }
}

func withLatency(d time.Duration) func(*bench, *string) {
	return func(b *bench, _ *string) { b.db.latency = func(int) time.Duration { return d } }
}

func withTTL(ttl time.Duration) func(*bench, *string) {
	return func(b *bench, _ *string) { b.cache = secretcache.New(b.store, &secretcache.Options{TTL: ttl}) }
}

func withRefreshDone(f func(driver.RefreshInfo)) func(*bench, *string) {
	return func(b *bench, _ *string) {
		b.opts.Trace = &driver.Trace{RefreshDone: func(_ context.Context, i driver.RefreshInfo) { f(i) }}
	}
}

// withSecrets wraps the Secrets that the connector uses.
func withSecrets(wrap func(driver.Secrets) driver.Secrets) func(*bench, *string) {
	return func(b *bench, _ *string) {
		b.cache = secretcache.New(b.store, nil)
		b.opts.Secrets = wrap(b.cache)
	}
}

// inBubble runs a subtest in a synctest bubble.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// ping connects once.
func (b *bench) ping(ctx context.Context) error {
	c, err := b.Connect(ctx)
	if err == nil {
		err = c.Close()
	} else if c != nil {
		panic("a connection and an error")
	}
	return err
}

// mustPing connects once and fails the test at once if that fails. wantPing does not end the test's
// goroutine, so other goroutines can call it.
func (b *bench) mustPing(t testing.TB) {
	t.Helper()
	if err := b.ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) wantPing(t testing.TB) {
	t.Helper()
	if err := b.ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// pingFor connects once, with a context that ends after d.
func (b *bench) pingFor(t testing.TB, d time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return b.ping(ctx)
}

// mustPingTogether connects n times at once. All Connect calls must succeed.
func (b *bench) mustPingTogether(t testing.TB, n int) {
	t.Helper()
	for i, err := range b.together(t.Context(), n) {
		if err != nil {
			t.Fatalf("connection attempt %d of %d: %v", i, n, err)
		}
	}
}

// mustBeRejectedTogether connects n times at once. All Connect calls must fail with ErrAuthFailed.
func (b *bench) mustBeRejectedTogether(t testing.TB, n int, version string) {
	t.Helper()
	for _, err := range b.together(t.Context(), n) {
		isAuthFailed(t, err, version)
	}
}

// wantLogins checks how many logins reached the database, and how many of them it rejected.
func (b *bench) wantLogins(t testing.TB, all, rejected int) {
	t.Helper()
	if n, r := b.db.count(); n != all || r != rejected {
		t.Errorf("%d logins, %d rejected; want %d, %d", n, r, all, rejected)
	}
}

// logins and rejections return the two numbers that wantLogins checks.
func (b *bench) logins() int     { all, _ := b.db.count(); return all }
func (b *bench) rejections() int { _, rejected := b.db.count(); return rejected }

// wantEqual checks a value. wantBetween checks that a value is within limits.
func wantEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantBetween[T cmp.Ordered](t testing.TB, what string, got, low, high T) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %v, want %v to %v", what, got, low, high)
	}
}

// wantFetches checks how often a stage was fetched, or all stages if it is empty.
func (b *bench) wantFetches(t testing.TB, stage string, n int) {
	t.Helper()
	if got := b.store.calls(stage); got != n {
		t.Errorf("%d fetches of %s, want %d", got, cmp.Or(stage, "all stages"), n)
	}
}

// together connects n times at once and returns the errors.
func (b *bench) together(ctx context.Context, n int) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = b.ping(ctx) })
	}
	wg.Wait()
	return errs
}

// startRotation does the first two steps of a single-user rotation. After it, the new version is
// AWSPENDING, and the database has its password.
func (b *bench) startRotation(version, password string) {
	b.store.put(version, credentials("app", password), "AWSPENDING")
	b.db.set("app", password)
}

// rotate does all steps of a single-user rotation.
func (b *bench) rotate(version, password string) {
	b.startRotation(version, password)
	b.store.move("AWSCURRENT", version)
}

func isAuthFailed(t testing.TB, err error, version string) {
	t.Helper()
	var e *driver.Error
	if !errors.Is(err, driver.ErrAuthFailed) || !errors.As(err, &e) {
		t.Fatalf("got %v, want ErrAuthFailed", err)
	}
	if e.SecretID != "prod/app" || e.Version != version {
		t.Errorf("error is for secret %q version %q, want %q %q: %v", e.SecretID, e.Version, "prod/app", version, err)
	}
	for _, want := range []string{`"prod/app"`, version, "access denied"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
	var v *vendorError
	if !errors.As(err, &v) || v.Code != codeRejected {
		t.Errorf("error %v does not wrap the vendor's", err)
	}
	if errors.Is(err, sqldriver.ErrBadConn) {
		t.Errorf("error %v matches driver.ErrBadConn", err)
	}
}
