package goora

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

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
	end := strings.IndexByte(s, ')')
	if strings.HasPrefix(s, `"`) {
		if close := strings.IndexByte(s[1:], '"'); close >= 0 {
			end = 1 + close + 1
			for end < len(s) && s[end] == ' ' {
				end++
			}
		}
	}
	if end < 0 || end >= len(s) || s[end] != ')' {
		return n, "", false
	}
	n.value = strings.TrimSpace(s[:end])
	if strings.IndexByte(n.value, '(') >= 0 && n.value[0] != '"' || n.value != "" && n.children != nil {
		return n, "", false
	}
	n.value = strings.Trim(n.value, `"`)
	return n, s[end+1:], true
}

// description reads a DESCRIPTION.
func (t *translation) description(d node) error {
	for _, n := range d.children {
		var err error
		switch n.name {
		case "ADDRESS":
			err = t.address(n)
		case "ADDRESS_LIST":
			err = t.addressList(n)
		case "CONNECT_DATA":
			err = t.connectData(n)
		case "SECURITY":
			err = t.options(n.children)
		default:
			err = t.options([]node{n})
		}
		if err != nil {
			return err
		}
	}
	if len(t.hosts) == 0 {
		return errors.New("the descriptor has no ADDRESS")
	}
	return nil
}

func (t *translation) addressList(list node) error {
	if t.lists++; t.lists > 1 {
		return errors.New("the descriptor has more than one ADDRESS_LIST")
	}
	for _, n := range list.children {
		var err error
		if n.name == "ADDRESS" {
			err = t.address(n)
		} else {
			err = t.options([]node{n})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *translation) address(a node) error {
	host, port, protocol := "", 0, ""
	for _, n := range a.children {
		switch n.name {
		case "HOST":
			var err error
			if host, err = jdbcurl.ParseHost(n.value); err != nil {
				return err
			}
		case "PORT":
			p, err := strconv.ParseUint(n.value, 10, 16)
			if err != nil || p == 0 {
				return errors.New("the port is not a number from 1 to 65535")
			}
			port = int(p)
		case "PROTOCOL":
			protocol = strings.ToLower(n.value)
		default:
			return noCounterpart(n.name)
		}
	}
	if host == "" {
		return errors.New("an ADDRESS of the descriptor has no HOST")
	}
	if protocol == "" {
		protocol = "tcp" // as to a listener
	}
	if known := t.Values["PROTOCOL"]; known != "" && known != protocol {
		return errors.New("the addresses of the descriptor have different protocols")
	} else if known == "" {
		if err := t.Set("PROTOCOL", "PROTOCOL", protocol); err != nil {
			return err
		}
	}
	t.hosts = append(t.hosts, hostPort{host, port})
	return nil
}

func (t *translation) connectData(data node) error {
	for _, n := range data.children {
		var err error
		switch n.name {
		case "SERVICE_NAME":
			err = t.setDatabase(n.value)
		case "SID":
			err = t.setDatabase(":" + n.value)
		case "SERVER":
			err = t.Set(n.name, "SERVER TYPE", n.value)
		case "INSTANCE_NAME":
			err = t.Set(n.name, "INSTANCE NAME", n.value)
		default:
			err = noCounterpart(n.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// options are what a descriptor and the query of a URL have in common.
func (t *translation) options(nodes []node) error {
	for _, n := range nodes {
		p, ok := properties[strings.ToLower(n.name)]
		if !ok || n.children != nil && n.name != "WALLET_LOCATION" {
			return noCounterpart(n.name)
		}
		if n.children != nil {
			n.value = walletFolder(n)
		}
		if err := t.Translate(n.name, n.value, p.param, p.translate, checkValue); err != nil {
			return err
		}
	}
	return nil
}

// walletFolder is the DIRECTORY in (SOURCE=(METHOD=FILE)(METHOD_DATA=(DIRECTORY=…))).
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
