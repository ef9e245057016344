//go:build pgxv5

package main

import "github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"

func init() { engine = pgxv5.Engine{} }
