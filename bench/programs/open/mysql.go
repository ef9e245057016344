//go:build mysql

package main

import _ "github.com/sqlsecrets/sqlsecrets/engines/mysql"
