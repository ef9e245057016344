//go:build file

package main

import (
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

func init() {
	newSource = func(address string) secretcache.Source { return file.New(address) }
}
