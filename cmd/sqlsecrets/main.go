// Sqlsecrets has two commands for programs that open a database by the name of a secret.
//
// Install it with
//
//	go install github.com/sqlsecrets/sqlsecrets/cmd/sqlsecrets@latest
//
// # check
//
//	sqlsecrets check [-driver NAME] [-json] [-timeout 10s] DSN
//
// Check says why a database does not open by the name of a secret. DSN is the data source name that
// the program gives to sql.Open. For example:
//
//	sqlsecrets check "prod/app/db?sslmode=verify-full"
//
// The first line of the output names the cause. The next lines show each step, from the data source
// name to the server's version. The last line says what to do. The exit code is 0 only if the
// database opened.
//
// Without -driver, the engine comes from the data source name or the secret. Check logs in with the
// library itself, at most once with each version of the secret. By itself that is too few logins to
// lock an account. Of the secret's values, check prints only host, port and database.
//
// # serve
//
//	sqlsecrets serve [-listen 127.0.0.1:4584] [-seed FILE] [-rotate COMMAND]
//
// Serve is a Secrets Manager for tests: it serves a part of the API of AWS Secrets Manager over
// HTTP and keeps all secrets in memory. It is useful for programs that are not written in Go, or
// that run in another process than their test. A test in Go can use package
// secretcache/awssm/awssmtest instead.
//
//   - FILE is a JSON object. Each key is the name of a secret, and each value is the secret: an object
//     or a string.
//   - COMMAND is the rotation function. The shell runs it for each step of a rotation. It gets the
//     event of AWS Lambda, a JSON object, on its standard input.
//
// Serve prints the environment variables that an AWS SDK needs, and runs until it gets SIGINT or
// SIGTERM.
//
// The page https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/command.md has examples, the exit
// codes and causes, the permissions, and a Docker Compose file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage:
  sqlsecrets check [-driver NAME] [-json] [-timeout 10s] DSN
        says why a database does not open by the name of a secret
  sqlsecrets serve [-listen ADDRESS] [-seed FILE] [-rotate COMMAND]
        runs a Secrets Manager for tests

"sqlsecrets check -h" and "sqlsecrets serve -h" explain the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs a command and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "check":
		return runCheck(ctx, args[1:], stdout, stderr)
	case "serve":
		return runServe(ctx, args[1:], stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	fmt.Fprint(stderr, usage) // without the argument: it may be a database's URL with a password
	return exitUsage
}

// parseFlags parses flags and returns the other arguments. Flags may come before, between and after
// them. If ok is false, the command ends with the exit code. No error quotes an argument, because it
// may be a database's URL with a password.
func parseFlags(f *flag.FlagSet, about string, args []string, stdout, stderr io.Writer) (others []string, code int, ok bool) {
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	for {
		switch err := f.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			fmt.Fprint(stdout, about)
			f.SetOutput(stdout)
			f.PrintDefaults()
			return nil, 0, false
		case err != nil:
			fmt.Fprintf(stderr, "sqlsecrets %s: a flag is unknown or has a wrong value; \"sqlsecrets %s -h\" lists the flags\n", f.Name(), f.Name())
			return nil, exitUsage, false
		}
		if args = f.Args(); len(args) == 0 {
			return others, 0, true
		}
		others, args = append(others, args[0]), args[1:]
	}
}
