package file_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// mount does what the program that mounts secrets does: it writes files to a directory.
func mount(contents map[string]string) (dir string) {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	return dir
}

// A directory with a file for each secret, as the Secrets Store CSI driver mounts it.
func ExampleNew() {
	dir := mount(map[string]string{"prod_app_db": `{"username":"app","password":"hunter2"}`}) // "/mnt/secrets-store"
	defer os.RemoveAll(dir)

	cache := secretcache.New(file.New(dir), nil)
	defer cache.Close()
	secret, err := cache.Get(context.Background(), "prod/app/db", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret.Reveal())
	// Output: {"username":"app","password":"hunter2"}
}

// A directory with a file for each key, such as a volume of a Kubernetes Secret.
func ExampleNewKeys() {
	dir := mount(map[string]string{"username": "app", "password": "hunter2\n", "host": "db.example.com"}) // "/etc/db-secret"
	defer os.RemoveAll(dir)

	secret, err := file.NewKeys(dir).Fetch(context.Background(), "prod/app/db", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret.Reveal())
	// Output: {"host":"db.example.com","password":"hunter2","username":"app"}
}

// A variable that holds the value, as ECS sets it.
func ExampleNewEnv() {
	os.Setenv("DB_SECRET", `{"username":"app","password":"hunter2"}`)
	defer os.Unsetenv("DB_SECRET")

	secret, err := file.NewEnv("DB_SECRET").Fetch(context.Background(), "prod/app/db", "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret.Reveal())
	// Output: {"username":"app","password":"hunter2"}
}

// A variable that holds the path of a file, as GitLab sets it. If the variable is not set,
// the secret is not found.
func ExampleNewEnvFile() {
	_, err := file.NewEnvFile("DB_SECRET_FILE").Fetch(context.Background(), "prod/app/db", "")
	fmt.Println(err)
	// Output: read secret "prod/app/db": environment variable "DB_SECRET_FILE" is not set: secret not found
}

// A file that users other than its owner may read is used, and is reported once.
func ExampleTrace() {
	dir := mount(map[string]string{"app": `{"username":"app","password":"hunter2"}`})
	defer os.RemoveAll(dir)
	if err := os.Chmod(filepath.Join(dir, "app"), 0o644); err != nil {
		log.Fatal(err)
	}

	source := file.New(dir, func(o *file.Options) {
		o.Trace = &file.Trace{Permissions: func(i file.PermissionsInfo) {
			fmt.Println(filepath.Base(i.Path), i.Mode)
		}}
	})
	for range 3 {
		if _, err := source.Fetch(context.Background(), "app", ""); err != nil {
			log.Fatal(err)
		}
	}
	// Output: app -rw-r--r--
}

// A mistake in the configuration is found without reading a secret.
func ExampleSource_Check() {
	fmt.Println(file.NewEnv("DB_SECRET").Check())
	fmt.Println(file.NewEnv(`{"password":"hunter2"}`).Check()) // env:$DB_SECRET, expanded
	// Output:
	// <nil>
	// not the name of an environment variable (letters, digits and _.-): is it the value of a secret?
}

// A program that takes a path or the name of a variable from its configuration checks it first.
// The error does not quote the argument, because it may be a secret by mistake.
func ExampleCheckPath() {
	fmt.Println(file.CheckPath("/mnt/secrets-store"), file.CheckEnv("DB_SECRET"))
	fmt.Println(file.CheckPath(`{"password":"hunter2"}`))
	fmt.Println(file.CheckEnv(`{"password":"hunter2"}`))
	// Output:
	// <nil> <nil>
	// not a path of a file or directory of secrets: is it the value of a secret?
	// not the name of an environment variable (letters, digits and _.-): is it the value of a secret?
}
