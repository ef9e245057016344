//go:build postgres

package main

import _ "github.com/sqlsecrets/sqlsecrets/engines/postgres"
