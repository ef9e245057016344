//go:build sqlserver

package main

import _ "github.com/sqlsecrets/sqlsecrets/engines/sqlserver"
