//go:build goora

package main

import _ "github.com/sijms/go-ora/v2"
