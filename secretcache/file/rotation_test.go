package file_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// A cache with a volume as its source serves its copy, and Refresh sees the swap.
func TestRefreshSeesASwapOfTheVolume(t *testing.T) {
	v := newVolume(t, t.TempDir(), under("prod_app", files{"username": "app", "password": "one"}))
	cache := secretcache.New(file.New(v.dir), nil)
	defer cache.Close()
	get := func() *secretcache.Secret {
		t.Helper()
		s, err := cache.Get(t.Context(), "prod/app", "")
		check(t, err)
		return s
	}
	refresh := func(rejected *secretcache.Secret) *secretcache.Secret {
		t.Helper()
		s, err := cache.Refresh(t.Context(), "prod/app", "", rejected)
		check(t, err)
		return s
	}
	first := get()
	check(t, v.write(under("prod_app", files{"username": "app", "password": "two"})))
	if got := get(); got.VersionID() != first.VersionID() {
		t.Errorf("Get = %v before the TTL, want %v", got, first)
	}
	second := refresh(first)
	if want := `{"password":"two","username":"app"}`; second.Reveal() != want || second.VersionID() == first.VersionID() {
		t.Errorf("Refresh = %q of version %q, want %q of another than %q", second.Reveal(), second.VersionID(), want, first.VersionID())
	}
	if got := get(); got.VersionID() != second.VersionID() {
		t.Errorf("Get = %v, want %v", got, second)
	}

	// The files are written again with the same values: the version is the same.
	check(t, v.write(under("prod_app", files{"username": "app", "password": "two"})))
	if got := refresh(second); got.VersionID() != second.VersionID() {
		t.Errorf("Refresh = %v of the same value, want %v", got, second)
	}
	// The first values are back: the version id is the first one again.
	check(t, v.write(under("prod_app", files{"username": "app", "password": "one"})))
	if got := refresh(nil); got.VersionID() != first.VersionID() {
		t.Errorf("Refresh = %v, want %v", got, first)
	}
}
