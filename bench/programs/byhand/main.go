// Command byhand is command open without the library: it reads the secret itself. In the data
// source name, $host, $port, $dbname, $username and $password are replaced with the values of the
// secret. Build tags choose the vendor's driver, and AWS's caching client in place of the SDK
// alone.
//
//	go build -tags pgx,awscaching ./programs/byhand
//	byhand prod/app pgx "host=$host user=$username password=$password" "SELECT 1"
//	go build -tags pgx,awscaching ./programs/byhand
//	byhand prod/app pgx "host=$host user=$username password=$password" "SELECT 1"
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
)

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	value, err := read(ctx, cfg, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var secret struct {
		Host, Dbname, Username, Password string
		Port                             json.Number
	}
	if err := json.Unmarshal([]byte(value), &secret); err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open(os.Args[2], os.Expand(os.Args[3], func(key string) string {
		return map[string]string{"host": secret.Host, "port": secret.Port.String(), "dbname": secret.Dbname,
			"username": secret.Username, "password": secret.Password}[key]
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow(os.Args[4]).Scan(&n); err != nil {
		log.Fatal(err)
	}
	fmt.Println(n)
}
