//go:build goora

package main

import "github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"

func init() { engine = goora.Engine{} }
