package file_test

import (
	"path/filepath"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

func BenchmarkFetch(b *testing.B) {
	const json = `{"engine":"postgres","host":"db.cluster-abcdefghijkl.eu-central-1.rds.amazonaws.com","port":5432,"username":"app","password":"0123456789abcdef"}`
	five := files{"engine": "postgres", "host": "db.cluster-abcdefghijkl.eu-central-1.rds.amazonaws.com", "port": "5432", "username": "app", "password": "0123456789abcdef"}
	dir := write(b, b.TempDir(), files{"db.json": json, "prod_app": json})
	write(b, filepath.Join(dir, "keys"), five)
	b.Setenv("BENCHMARK_SECRET", json)
	for _, bb := range []struct {
		name   string
		source *file.Source
	}{
		{"file", file.New(filepath.Join(dir, "db.json"))},
		{"entry", file.New(dir)},
		{"volume", file.New(newVolume(b, filepath.Join(dir, "volume"), files{"prod_app": json}).dir)},
		{"keys=5", file.NewKeys(filepath.Join(dir, "keys"))},
		{"volume,keys=5", file.NewKeys(newVolume(b, filepath.Join(dir, "volume5"), five).dir)},
		{"env", file.NewEnv("BENCHMARK_SECRET")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bb.source.Fetch(b.Context(), "prod/app", ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
