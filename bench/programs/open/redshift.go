//go:build redshift

package main

import _ "github.com/sqlsecrets/sqlsecrets/engines/redshift"
