//go:build mariadb

package main

import _ "github.com/sqlsecrets/sqlsecrets/engines/mariadb"
