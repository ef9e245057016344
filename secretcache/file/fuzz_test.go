package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// No id reads a file outside the directory. The file that it reads inside has a name that comes
// from the id.
func FuzzIDsStayInTheDirectory(f *testing.F) {
	for _, id := range []string{
		"", ".", "..", "../outside", "/outside", "a/../../outside", "..\\outside", "prod/app/db", "prod_app_db", "dir/../../outside",
		"..data", "..data/outside", "a\x00b", "out", "out/outside", "up", "C:outside", "\\\\host\\share", "NUL", "a:b",
		"arn:aws:secretsmanager:us-west-2:123456789012:secret:../outside-a1b2c3", "arn:aws:secretsmanager:::secret:/../outside",
		strings.Repeat("n", 256), strings.Repeat("a/", 200),
	} {
		for _, translation := range []string{"", "False", ".", "-"} {
			f.Add(id, translation)
		}
	}
	top := f.TempDir()
	dir := filepath.Join(top, "in", "secrets")
	write(f, top, files{"outside": "outside", "in/outside": "outside", "in/secrets/prod_app_db": "inside", "in/secrets/prod/app/db": "inside",
		"in/secrets/dir/key": "inside"})
	check(f, os.Symlink("..", filepath.Join(dir, "out")))
	check(f, os.Symlink("../outside", filepath.Join(dir, "up")))
	check(f, os.Symlink(top, filepath.Join(dir, "abs")))
	check(f, os.Symlink("..", filepath.Join(dir, "..data")))
	f.Fuzz(func(t *testing.T, id, translation string) {
		s := file.New(dir, func(o *file.Options) { o.PathTranslation = translation })
		if secret, err := s.Fetch(t.Context(), id, ""); err == nil && strings.Contains(secret.Reveal(), "outside") {
			t.Errorf("Fetch(%q) with %q left the directory", id, translation)
		}
		names, err := file.Entries(id, translation)
		if err != nil {
			return
		}
		for _, name := range names {
			joined := filepath.Join(dir, name)
			if !strings.HasPrefix(joined, dir+string(filepath.Separator)) || strings.ContainsRune(name, 0) {
				t.Errorf("id %q with %q has the name %q", id, translation, name)
			}
			if translation != "/" && !strings.EqualFold(translation, "false") && strings.ContainsRune(name, '/') {
				t.Errorf("id %q with %q has the name %q, in another directory", id, translation, name)
			}
		}
	})
}
