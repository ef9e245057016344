//go:build mssql

package main

import _ "github.com/microsoft/go-mssqldb"
