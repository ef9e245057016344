//go:build db2

package main

import _ "github.com/sqlsecrets/sqlsecrets/engines/db2"
