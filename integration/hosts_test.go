package integration_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// TestAListOfHostsAfterAFailover checks what docs/postgres.md says. New connections go to the first
// host that takes writes. If a host becomes read-only, its open connections stay until
// SetConnMaxLifetime closes them.
func TestAListOfHostsAfterAFailover(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{Args: []string{"-c", "cluster_name=first"}, Private: true})
	second := testdb.Postgres(t, testdb.Options{Args: []string{"-c", "cluster_name=second"}, Private: true})
	second.CreateUser(v.user, v.password)
	v.Host = fmt.Sprintf("127.0.0.1:%d,127.0.0.1", v.Port)
	v.Port = second.Port
	v.sm.Put(v.id, v.secret(v.user, v.password))

	db := v.open(t, "target_session_attrs=read-write&closeSuperseded=true", nil)
	db.SetMaxOpenConns(1)
	show := func(setting string) (value string) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SHOW "+setting).Scan(&value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	if got := show("cluster_name"); got != "first" {
		t.Fatalf("connected to the %s host", got)
	}
	readOnly := func(ctx context.Context, value string) error {
		_, err := v.Admin().ExecContext(ctx, "ALTER SYSTEM SET default_transaction_read_only = "+value)
		if err == nil {
			_, err = v.Admin().ExecContext(ctx, "SELECT pg_reload_conf()")
		}
		return err
	}
	if err := readOnly(t.Context(), "on"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = readOnly(context.Background(), "off") }) // so that the user can be dropped
	for end := time.Now().Add(30 * time.Second); show("default_transaction_read_only") != "on"; {
		if time.Now().After(end) {
			t.Fatal("the first host does not become read-only")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := show("cluster_name"); got != "first" {
		t.Errorf("the open connection moved to the %s host by itself", got)
	}
	db.SetConnMaxLifetime(time.Nanosecond)
	if got := show("cluster_name"); got != "second" {
		t.Errorf("the new connection is to the %s host", got)
	}
}
