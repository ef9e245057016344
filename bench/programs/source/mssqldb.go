//go:build mssqldb

package main

import "github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"

func init() { engine = mssqldb.Engine{} }
