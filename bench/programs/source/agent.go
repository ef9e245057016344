//go:build agent

package main

import (
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
)

func init() {
	newSource = func(address string) secretcache.Source {
		return agent.New(func(o *agent.Options) { o.Endpoint = address })
	}
}
