// Sqlsecrets says why a database does not open by the name of a secret, and serves secrets to the
// tests of programs in any language.
//
//	sqlsecrets check [-driver NAME] [-json] [-timeout 10s] DSN
//	sqlsecrets serve [-listen ADDRESS] [-seed FILE] [-rotate COMMAND]
//
// docs/command.md has the exit codes, the permissions, and examples.
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
  sqlsecrets check [-driver NAME] [-json] [-timeout 10s] DSN   why does it not connect?
  sqlsecrets serve [-listen ADDRESS] [-seed FILE] [-rotate COMMAND]   a Secrets Manager for tests

"sqlsecrets check -h" and "sqlsecrets serve -h" say more.
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
	fmt.Fprint(stderr, usage) // the word may be a data source name with a password
	return exitUsage
}

// parseFlags parses flags, which may also follow other arguments, and returns the latter. If it
// returns false, the command ends with the code. It quotes no argument: one may be a database's
// URL with a password.
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
			fmt.Fprintf(stderr, "sqlsecrets %s: a flag is not known or has a wrong value; \"sqlsecrets %s -h\" has them all\n", f.Name(), f.Name())
			return nil, exitUsage, false
		}
		if args = f.Args(); len(args) == 0 {
			return others, 0, true
		}
		others, args = append(others, args[0]), args[1:]
	}
}
