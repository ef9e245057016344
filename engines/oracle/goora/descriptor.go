package goora

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// A node is "(NAME=value)" or "(NAME=(…)(…))" of a descriptor.
type node struct {
	name     string // in upper case
	value    string
	children []node
}

const (
	maxDescriptor = 16 << 10
	maxDepth      = 8
)

var errDescriptor = errors.New("the descriptor is not of the form (DESCRIPTION=(ADDRESS=…)(CONNECT_DATA=…))")

// parseDescriptor parses a descriptor at the beginning of a text, and returns the rest.
func parseDescriptor(s string) (d node, rest string, err error) {
	if len(s) > maxDescriptor {
		return d, "", errDescriptor
	}
	d, rest, ok := parseNode(s, 0)
	if !ok || d.name != "DESCRIPTION" || d.value != "" {
		return d, "", errDescriptor
	}
	return d, rest, nil
}

func parseNode(s string, depth int) (n node, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "(")
	if !ok || depth > maxDepth {
		return n, "", false
	}
	name, s, ok := strings.Cut(s, "=")
	n.name = strings.ToUpper(strings.TrimSpace(name))
	if !ok || !jdbcurl.IsName(n.name) {
		return n, "", false
	}
	for s = strings.TrimLeft(s, " \t\r\n"); strings.HasPrefix(s, "("); s = strings.TrimLeft(s, " \t\r\n") {
		var c node
		if c, s, ok = parseNode(s, depth+1); !ok {
			return n, "", false
		}
		n.children = append(n.children, c)
	}
	value, rest, ok := cutValue(s)
	n.value = strings.Trim(value, `"`)
	return n, rest, ok && (value == "" || n.children == nil)
}

// cutValue cuts a value, which may be in quotes, and the ")" after it.
func cutValue(s string) (value, rest string, ok bool) {
	end := strings.IndexByte(s, ')')
	if quoted, isQuoted := strings.CutPrefix(s, `"`); isQuoted {
		if n := strings.IndexByte(quoted, '"'); n >= 0 {
			after := strings.TrimLeft(quoted[n+1:], " ")
			end = len(s) - len(after)
		}
	}
	if end < 0 || end >= len(s) || s[end] != ')' {
		return "", "", false
	}
	value = strings.TrimSpace(s[:end])
	return value, s[end+1:], strings.HasPrefix(value, `"`) || strings.IndexByte(value, '(') < 0
}

// each calls take for each child of a node, until take returns an error.
func (n node) each(take func(node) error) error {
	for _, c := range n.children {
		if err := take(c); err != nil {
			return err
		}
	}
	return nil
}

// description reads a DESCRIPTION.
func (t *translation) description(d node) error {
	err := d.each(func(n node) error {
		switch n.name {
		case "ADDRESS_LIST":
			if t.lists++; t.lists > 1 {
				return errors.New("the descriptor has more than one ADDRESS_LIST")
			}
			return n.each(t.addressOrOption)
		case "CONNECT_DATA":
			return n.each(t.connectData)
		case "SECURITY":
			return n.each(t.option)
		}
		return t.addressOrOption(n)
	})
	if err == nil && len(t.hosts) == 0 {
		err = errors.New("the descriptor has no ADDRESS")
	}
	return err
}

func (t *translation) addressOrOption(n node) error {
	if n.name == "ADDRESS" {
		return t.address(n)
	}
	return t.option(n)
}

// address reads an ADDRESS. All addresses of a descriptor must have one protocol.
func (t *translation) address(a node) error {
	h, protocol := hostPort{}, "tcp" // tcp is the default of a listener as well
	err := a.each(func(n node) (err error) {
		switch n.name {
		case "HOST":
			h.host, err = jdbcurl.ParseHost(n.value)
			return err
		case "PORT":
			port, err := strconv.ParseUint(n.value, 10, 16)
			if err != nil || port == 0 {
				return errors.New("the port is not a number from 1 to 65535")
			}
			h.port = int(port)
			return nil
		case "PROTOCOL":
			protocol = cmp.Or(strings.ToLower(n.value), protocol)
			return nil
		}
		return noCounterpart(n.name)
	})
	if err != nil {
		return err
	}
	if h.host == "" {
		return errors.New("an ADDRESS of the descriptor has no HOST")
	}
	t.hosts = append(t.hosts, h)
	if len(t.hosts) == 1 {
		return t.Set("PROTOCOL", "PROTOCOL", protocol)
	}
	if t.Params["PROTOCOL"] != protocol {
		return errors.New("the addresses of the descriptor have different protocols")
	}
	return nil
}

func (t *translation) connectData(n node) error {
	switch n.name {
	case "SERVICE_NAME":
		return t.setDatabase(n.value)
	case "SID":
		return t.setDatabase(":" + n.value)
	case "SERVER":
		return t.Set(n.name, "SERVER TYPE", n.value)
	case "INSTANCE_NAME":
		return t.Set(n.name, "INSTANCE NAME", n.value)
	}
	return noCounterpart(n.name)
}

// option reads an option that a descriptor and the query of a URL have in common.
func (t *translation) option(n node) error {
	if _, ok := properties[strings.ToLower(n.name)]; !ok || n.children != nil && n.name != "WALLET_LOCATION" {
		return noCounterpart(n.name)
	}
	if n.children != nil {
		n.value = walletFolder(n)
	}
	t.options = append(t.options, vocabulary.Pair{Name: n.name, Value: n.value})
	return nil
}

// walletFolder returns the DIRECTORY in (SOURCE=(METHOD=FILE)(METHOD_DATA=(DIRECTORY=…))), or "".
func walletFolder(n node) string {
	if n.name == "DIRECTORY" {
		return n.value
	}
	for _, c := range n.children {
		if v := walletFolder(c); v != "" {
			return v
		}
	}
	return ""
}

func noCounterpart(name string) error {
	return fmt.Errorf("property %q: it has no counterpart in go-ora", name)
}
