//go:build gosqldriver

package main

import "github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"

func init() { engine = gosqldriver.Engine{} }
