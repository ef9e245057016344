//go:build oracle

package main

import _ "github.com/sqlsecrets/sqlsecrets/engines/oracle"
