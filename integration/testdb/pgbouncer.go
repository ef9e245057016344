package testdb

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	bouncerIni      = "/etc/pgbouncer/pgbouncer.ini" // in the container
	bouncerUserlist = "/etc/pgbouncer/userlist.txt"
	bouncerPort     = "6432"

	bouncerAdmin   = "testdb_console"
	bouncerConsole = "pgbouncer" // the name of PgBouncer's own console
)

// PgBouncerOptions configure a PgBouncer.
type PgBouncerOptions struct {
	// AuthQuery makes PgBouncer read users of the server's database that are not in Users from
	// pg_shadow, as the role [Bouncer.AuthUser].
	AuthQuery bool

	// Users are the passwords of auth_file, by user, or hashes of them as in pg_shadow.
	Users map[string]string

	// Databases are connection strings, by name, in addition to that of the server's database.
	Databases map[string]string

	// Settings are added to the section pgbouncer of the configuration. The default for auth_type
	// is scram-sha-256.
	Settings map[string]string
}

// A Bouncer is a PgBouncer of one test. Methods that return no error end the test
// if they fail.
type Bouncer struct {
	Host string // 127.0.0.1
	Port int

	// AuthUser is the role that runs auth_query: a user of the server's CreateUser that may read
	// pg_shadow. It is empty without auth_query.
	AuthUser string

	tb        testing.TB
	container *container
	userlist  int // the size of the file
}

// PgBouncer starts a PgBouncer in front of a server of [Postgres], or skips the test if there is
// none. It ends with the test. It reaches the server from container to container. A restart of the
// server may change the server's address, so after a restart neither is usable.
func PgBouncer(tb testing.TB, s *Server, o PgBouncerOptions) *Bouncer {
	tb.Helper()
	pgbouncerKind.need(tb)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	address, err := s.in.process.(*container).ContainerIP(ctx) // PostgreSQL has no stand-in
	if err != nil {
		tb.Fatalf("start PgBouncer: the server's address: %v", err)
	}

	b := &Bouncer{Host: loopback, tb: tb}
	if o.AuthQuery {
		b.AuthUser = "testdb_auth_" + strings.ToLower(rand.Text()[:8])
		s.CreateUser(b.AuthUser, adminPassword)
		if err := (postgres{}).execf(ctx, s.in.db, "GRANT SELECT ON pg_shadow TO %I", b.AuthUser); err != nil {
			tb.Fatalf("start PgBouncer: let %q read pg_shadow: %v", b.AuthUser, err)
		}
	}
	r := request{
		image: pgbouncerKind.image(),
		port:  bouncerPort + "/tcp",
		files: map[string][]byte{
			bouncerIni:      b.configuration(o, s.Database, address),
			bouncerUserlist: b.users(o.Users),
		},
	}
	b.container, err = startContainer(ctx, r)
	if b.container != nil {
		b.Port = b.container.port
		tb.Cleanup(func() {
			if err := b.container.end(); err != nil {
				tb.Errorf("end PgBouncer: %v", err)
			}
		})
	}
	if err == nil {
		err = ready(ctx, b.container, func(ctx context.Context) error { return b.console(ctx, "SHOW VERSION") })
	}
	if err != nil {
		tb.Fatalf("start PgBouncer: %v", err)
	}
	return b
}

// configuration returns the content of pgbouncer.ini.
func (b *Bouncer) configuration(o PgBouncerOptions, database, address string) []byte {
	databases := map[string]string{database: fmt.Sprintf("host=%s port=5432", address)}
	if b.AuthUser != "" {
		databases[database] += " auth_user=" + b.AuthUser
	}
	maps.Copy(databases, o.Databases)
	settings := map[string]string{
		"listen_addr":     "*",
		"listen_port":     bouncerPort,
		"unix_socket_dir": "",
		"admin_users":     bouncerAdmin,
		"auth_file":       bouncerUserlist,
		"auth_query":      "SELECT usename, passwd FROM pg_shadow WHERE usename=$1", // the default changed in 1.24.1
		"auth_type":       "scram-sha-256",
	}
	maps.Copy(settings, o.Settings)

	var ini strings.Builder
	section := func(name string, lines map[string]string) {
		fmt.Fprintf(&ini, "[%s]\n", name)
		for _, key := range slices.Sorted(maps.Keys(lines)) {
			fmt.Fprintf(&ini, "%s = %s\n", key, lines[key])
		}
	}
	section("databases", databases)
	section("pgbouncer", settings)
	return []byte(ini.String())
}

// users returns the content of userlist.txt, each time of another size. PgBouncer 1.18 reads the
// file again only if its size or time has changed, and all files that Docker copies are from the
// year 1970.
func (b *Bouncer) users(users map[string]string) []byte {
	all := map[string]string{bouncerAdmin: adminPassword}
	if b.AuthUser != "" {
		all[b.AuthUser] = adminPassword
	}
	maps.Copy(all, users)

	var list strings.Builder
	quote := strings.NewReplacer(`"`, `""`)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&list, "\"%s\" \"%s\"\n", quote.Replace(name), quote.Replace(all[name]))
	}
	if n := b.userlist + 1 - list.Len(); n > 0 {
		list.WriteString(strings.Repeat("\n", n))
	}
	b.userlist = list.Len()
	return []byte(list.String())
}

// SetUsers replaces the users of auth_file and makes PgBouncer read them.
func (b *Bouncer) SetUsers(users map[string]string) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.tb.Context(), callTimeout)
	defer cancel()
	if err := b.container.CopyToContainer(ctx, b.users(users), bouncerUserlist, 0o644); err != nil {
		b.tb.Fatalf("write PgBouncer's auth_file: %v", err)
	}
	b.Console("RELOAD")
}

// Console runs a command of PgBouncer's console, such as "DISABLE app". See
// https://www.pgbouncer.org/usage.html#admin-console.
func (b *Bouncer) Console(command string) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.tb.Context(), callTimeout)
	defer cancel()
	if err := b.console(ctx, command); err != nil {
		b.tb.Fatalf("PgBouncer's console: %s: %v", command, err)
	}
}

func (b *Bouncer) console(ctx context.Context, command string) error {
	conn, err := b.connect(ctx, bouncerConsole)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, command).ReadAll()
	return err
}

func (b *Bouncer) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s sslmode=disable connect_timeout=5",
		b.Host, b.Port, bouncerAdmin, adminPassword, database))
}

// Log returns what PgBouncer has logged. It includes everything that had ended for its clients when
// Log was called.
func (b *Bouncer) Log() string {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.tb.Context(), callTimeout)
	defer cancel()
	// PgBouncer logs in order, and logs the database of every login.
	mark := "testdb_mark_" + rand.Text()
	if conn, err := b.connect(ctx, mark); err == nil {
		_ = conn.Close(ctx)
		b.tb.Fatalf("PgBouncer knows a database %s", mark)
	}
	var log string
	err := poll(ctx, 10*time.Millisecond, func() (marked bool, err error) {
		log, err = b.container.wholeLog(ctx)
		log, _, marked = strings.Cut(log, mark)
		return marked, err
	})
	if err != nil {
		b.tb.Fatalf("read PgBouncer's log: %v", err)
	}
	return log
}
