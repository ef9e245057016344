// Command bench measures the library beside its peers and writes docs/benchmarks.md. It takes
// half an hour. Run it on a machine that does nothing else:
//
//	go -C bench run .
package main

import (
	"context"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

// A section measures one thing. Run fills in the report; quick asks for one turn of each
// operation, to see that it works.
type section struct {
	name string
	run  func(ctx context.Context, quick bool) (*report.Section, error)
}

// sections are all sections, in the order of the report.
var sections = []section{
	{"connect-modelled", connectModelled},
	{"connect", connectReal},
	{"query", queries},
	{"recovery", recovery},
	{"storm", rotationStorm},
	{"start", programStart},
	{"size", programSizes},
}

func main() {}
