package main

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	_ "github.com/sqlsecrets/sqlsecrets/engines/all"
)

// The command opens the same engines as engines/all.
func TestEnginesAreAll(t *testing.T) {
	var want, got []string
	for _, name := range sql.Drivers() {
		if engine, ok := strings.CutPrefix(name, anyDriver+"-"); ok {
			want = append(want, engine)
		}
	}
	for _, e := range new(observer).engines() {
		got = append(got, e.Info().Name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("engines %q, want %q", got, want)
	}
}

// The arguments are what a user can copy: what the program gives to sql.Open, or the name of a
// connector in a log.
func TestTarget(t *testing.T) {
	for _, c := range []struct {
		driver string
		args   []string
		want   target
		bad    bool
	}{
		{"", []string{"prod/app?host=h"}, target{"", "prod/app?host=h"}, false},
		{"postgres", []string{"prod/app"}, target{"postgres", "prod/app"}, false},
		{"", []string{"secretsmanager-postgres", "prod/app"}, target{"secretsmanager-postgres", "prod/app"}, false},
		{"", []string{"secretsmanager-postgres prod/app"}, target{"secretsmanager-postgres", "prod/app"}, false},
		{"", []string{"secretsmanager-mysql:prod/app?tls=true"}, target{"secretsmanager-mysql", "prod/app?tls=true"}, false},
		{"", []string{"secretsmanager-mysql://prod/app"}, target{"secretsmanager-mysql", "prod/app"}, false},
		{"", []string{"secretsmanager arn:aws:secretsmanager:x"}, target{"secretsmanager", "arn:aws:secretsmanager:x"}, false},
		{"", []string{"secretsmanager"}, target{"", "secretsmanager"}, false}, // a secret of that name
		{"", []string{"jdbc-secretsmanager:mysql://h/db?user=app"}, target{"", "jdbc-secretsmanager:mysql://h/db?user=app"}, false},
		{"secretsmanager-postgres", []string{"secretsmanager-postgres prod/app"}, target{"secretsmanager-postgres", "prod/app"}, false},
		{"", nil, target{}, true},
		{"", []string{"a", "b", "c"}, target{}, true},
		{"postgres", []string{"a", "b"}, target{}, true},
	} {
		got, err := parseTarget(c.driver, c.args)
		if (err != nil) != c.bad || !c.bad && got != c.want {
			t.Errorf("-driver %q %q: %+v, %v, want %+v", c.driver, c.args, got, err, c.want)
		}
	}
}
