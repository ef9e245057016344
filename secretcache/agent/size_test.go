//go:build sizes

package agent_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/program"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const secretID = "prod/app"

// TestProgram builds the same program twice: with secrets from the API, by the package of
// its engine, and from the agent. It prints their sizes.
func TestProgram(t *testing.T) {
	aws := func(source string) (n int) {
		for _, path := range program.Packages(t, source) {
			if strings.HasPrefix(path, "github.com/aws/") {
				n++
			}
		}
		return n
	}
	if n := aws(apiProgram); n == 0 {
		t.Error("the program on the API links no AWS SDK: what is compared?")
	}
	if n := aws(agentProgram); n != 0 {
		t.Errorf("the program on the agent links %d packages of the AWS SDK", n)
	}
	size := func(source string) float64 {
		info, err := os.Stat(program.Build(t, source))
		if err != nil {
			t.Fatal(err)
		}
		return float64(info.Size()) / 1e6
	}
	api, agent := size(apiProgram), size(agentProgram)
	t.Logf("PostgreSQL by the name of a secret: %.1f MB with the API, %.1f MB with the agent: %.1f MB less", api, agent, api-agent)
	if agent >= api {
		t.Error("the program on the agent is not smaller")
	}
}

// BenchmarkStart measures the time from the start of a process to the secret, with the
// API and with the agent, and for comparison of a process that does nothing. Both servers
// are in this process, and have no network or service behind them.
func BenchmarkStart(b *testing.B) {
	sm := awssmtest.NewServer(b)
	sm.Put(secretID, "{}")
	server := agenttest.NewServer(b, sm.Source())
	b.Run("nothing", func(b *testing.B) { benchmarkStart(b, "package main\nfunc main() {}", nil) })
	b.Run("api", func(b *testing.B) {
		benchmarkStart(b, apiProgram, []string{
			"AWS_REGION=us-west-2", "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + sm.URL(), "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=x",
			"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		})
	})
	b.Run("agent", func(b *testing.B) {
		benchmarkStart(b, agentProgram, []string{"AWS_TOKEN=" + server.Token(), "ENDPOINT=" + server.URL()})
	})
}

func benchmarkStart(b *testing.B, source string, env []string) {
	path := program.Build(b, source)
	var user time.Duration
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), path, secretID)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		user += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	b.ReportMetric(float64(user.Microseconds())/float64(b.N), "cpu-µs/op")
}

// A program that opens a database and reads its secret: from the API, by the package of
// the engine, and from the agent.
var (
	apiProgram = strings.NewReplacer("IMPORTS", `"github.com/sqlsecrets/sqlsecrets/engines"
	_ "github.com/sqlsecrets/sqlsecrets/engines/postgres"`,
		"CACHE", "engines.Cache(driver.Location{})").Replace(programTemplate)
	agentProgram = strings.NewReplacer("IMPORTS", `"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"`,
		"CACHE", `secretcache.New(agent.New(func(o *agent.Options) { o.Endpoint = os.Getenv("ENDPOINT") }), nil), error(nil)`).Replace(programTemplate)
)

const programTemplate = `package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	IMPORTS
)

func main() {
	cache, err := CACHE
	if err != nil {
		log.Fatal(err)
	}
	connector, err := driver.NewConnector(pgxv5.Engine{}, os.Args[1], &driver.Options{Secrets: cache})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	secret, err := cache.Get(context.Background(), os.Args[1], "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret)
}
`
