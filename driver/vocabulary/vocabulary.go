// Package vocabulary helps to write an engine, that is an implementation of [driver.Engine] for one
// kind of database. Programs that only connect to a database do not need it.
//
// A data source name has parameters, such as "sslmode=verify-full". A JDBC URL has properties, which
// stand for parameters. A [Vocabulary] describes as tables which parameters and properties an engine
// supports. The engine's CheckParams calls [Vocabulary.Check], and its ParseURL calls
// [Vocabulary.ParseURL]. The example of Vocabulary is the smallest one. Then see [Match] for checks of
// values, [Property] for properties, and [Authorities] for files with certificates.
//
// Errors name the parameter or property that is wrong, and what to give instead. They quote no values.
// They quote a name only if it looks like a name, because a part of a password may stand in its place.
package vocabulary

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// A Vocabulary describes the parameters and properties that an engine supports. Several goroutines use
// it at once, so it must not change. In Refused, Properties, Absent and Settings.Harmless, a name that
// ends in "*" stands for all names with that beginning; the longest one counts.
type Vocabulary struct {
	// Vendor is the name of the vendor's driver, for error texts: "pgx".
	Vendor string

	// Params are the parameters, by name in the vendor's spelling.
	Params map[string]Param

	// Refused are parameters that the vendor's driver knows and the engine does not accept. The
	// value is the reason, for the error.
	Refused map[string]string

	// Meant are names that people write by mistake, in lower case without separators, with the
	// parameter that they mean: "usessl" means "tls". The name is an error, which suggests the
	// parameter.
	Meant map[string]string

	// Fold returns the form in which names of parameters are compared, if the vendor's driver
	// ignores case or spaces. The keys of Params and Refused have this form. Nil compares names
	// exactly.
	Fold func(name string) string

	// Server says which other names are settings of the server's session. They are passed on to
	// the server. Nil means none: all other names are errors.
	Server *Settings

	// Together checks parameters that depend on each other, by their names in Params. Nil checks
	// nothing.
	Together func(params map[string]string) error

	// Properties are the properties of the JDBC driver, by name. A property that is not among them
	// is taken as the parameter with that name.
	Properties map[string]Property
	// AnyCase ignores the case of the names of properties. The keys of Properties are then in
	// lower case.
	AnyCase bool

	// AnyCaseValues ignores case in the values of properties that have Property.Values, whose
	// keys are then in lower case.
	AnyCaseValues bool

	// Absent are names of properties that have no counterpart in the vendor's driver, separated
	// by white space. They are errors.
	Absent string

	// Hosts parses the part of a URL before the path, for an engine that supports more than one
	// host with or without a port there. Nil means one host.
	Hosts func(authority string) (host string, port int, err error)

	// Finish is called after all properties of a URL, for parameters that depend on several of
	// them. Nil does nothing.
	Finish func(t *Translation) error
}

// A Param is a parameter of the vendor's driver.
type Param struct {
	Check func(value string) error // returns what is wrong with a value, without quoting it; nil accepts all values
	File  bool                     // the value is the name of a file
}

// Settings are settings of the server's session, which the vendor's driver passes on to the server.
type Settings struct {
	// Names are all settings, in lower case and sorted. If Names is nil, every name is a setting,
	// with two exceptions, which are errors: a name that is a misspelt parameter or property, and a
	// name that contains a word about TLS or logins: ssl, tls, cert, crypt, verify, trust, secure
	// or auth. A server may ignore such a name, and a typo would then turn TLS off.
	Names []string

	// Harmless are real settings that Names would exclude because they contain such a word, in
	// lower case: "password_encryption".
	Harmless []string

	// Check returns what is wrong with a setting, or nil. A nil Check accepts all.
	Check func(name, value string) error
}

// Check returns what is wrong with parameters, or nil. [driver.Engine].CheckParams calls it.
func (v *Vocabulary) Check(params map[string]string) error {
	_, err := v.Read(params)
	return err
}

// Read checks parameters and returns them by their names in Params. Settings of the server keep their
// names.
func (v *Vocabulary) Read(params map[string]string) (map[string]string, error) {
	read, names := map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		value, key := params[name], v.fold(name)
		_, known := v.Params[key]
		seen := key
		if !known {
			key, seen = name, strings.ToLower(name)
		}
		if other, ok := names[seen]; ok {
			return nil, fmt.Errorf("parameters %q and %q are the same", other, name)
		}
		if err := v.checkOne(name, value, known); err != nil {
			return nil, err
		}
		read[key], names[seen] = value, name
	}
	if v.Together != nil {
		return read, v.Together(read)
	}
	return read, nil
}

// checkOne checks a parameter or, if known is false, a setting.
func (v *Vocabulary) checkOne(name, value string, known bool) error {
	if !known {
		if err := v.checkSetting(name, value); err != nil {
			return err
		}
	}
	if strings.IndexByte(value, 0) >= 0 {
		return fmt.Errorf("parameter %q: a NUL character", name)
	}
	if err := v.CheckValue(name, value); err != nil {
		return fmt.Errorf("parameter %q: %w", name, err)
	}
	return nil
}

// CheckValue returns what is wrong with the value of a parameter, or nil. If name is not a parameter,
// every value is accepted.
func (v *Vocabulary) CheckValue(name, value string) error {
	p, ok := v.Params[v.fold(name)]
	switch {
	case !ok:
		return nil
	case p.File && value == "":
		return errors.New("it has to be the name of a file")
	case p.Check == nil:
		return nil
	}
	return p.Check(value)
}

// Files returns those of params whose value is the name of a file.
func (v *Vocabulary) Files(params map[string]string) map[string]string {
	files := map[string]string{}
	for name, value := range params {
		if v.Params[v.fold(name)].File {
			files[name] = value
		}
	}
	return files
}

// find finds a name in a table. A key that ends in "*" stands for all names with that beginning; the
// longest key counts.
func find[T any](table map[string]T, name string) (found T, ok bool) {
	if found, ok = table[name]; ok {
		return found, true
	}
	for end := len(name); end >= 0 && !ok; end-- {
		found, ok = table[name[:end]+"*"]
	}
	return found, ok
}

func (v *Vocabulary) fold(name string) string {
	if v.Fold == nil {
		return name
	}
	return v.Fold(name)
}

// checkSetting returns what is wrong with a setting: a name that is not a parameter.
func (v *Vocabulary) checkSetting(name, value string) error {
	looksLikeName := jdbcurl.IsName(name)
	if v.Fold != nil {
		looksLikeName = jdbcurl.IsName(strings.ReplaceAll(name, " ", "_"))
	}
	if !looksLikeName {
		return errors.New("a parameter has a name that none has")
	}
	if reason, ok := find(v.Refused, v.fold(name)); ok {
		return fmt.Errorf("parameter %q is not allowed: %s", name, reason)
	}
	s, lower := v.Server, strings.ToLower(name)
	switch {
	case s == nil, s.Names != nil && !slices.Contains(s.Names, lower):
		return v.unknown(name, v.suggest(name))
	case s.Names == nil:
		if err := v.checkOpen(name, lower); err != nil {
			return err
		}
	}
	if s.Check != nil {
		if err := s.Check(name, value); err != nil {
			return fmt.Errorf("parameter %q: %w", name, err)
		}
	}
	return nil
}

func (v *Vocabulary) unknown(name, meant string) error {
	return fmt.Errorf("parameter %q is not known%s", name, didYouMean(meant))
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "; did you mean " + strconv.Quote(name) + "?"
}

// sensitive returns the word in a name that is about TLS or a login, or "". A server may ignore such a
// name, and then a typo would turn TLS off.
func sensitive(lower string) string {
	for _, word := range []string{"ssl", "tls", "cert", "crypt", "verify", "trust", "secure", "auth"} {
		if strings.Contains(lower, word) {
			return word
		}
	}
	return ""
}

// checkOpen checks the name of a setting if Settings.Names is nil, so that the server decides.
func (v *Vocabulary) checkOpen(name, lower string) error {
	if jdbcurl.OverridesSecret(name) || slices.Contains([]string{"host", "port", "dbname"}, lower) {
		return fmt.Errorf("parameter %q is not allowed: server, database and user come from the secret", name)
	}
	if listed(lower, v.Server.Harmless) || slices.Contains(v.targets(), lower) {
		return nil
	}
	if meant, yes := v.isMisspelt(name); yes {
		return v.unknown(name, meant)
	}
	if word := sensitive(lower); word != "" {
		return fmt.Errorf("parameter %q is not known, and a name with %q in it is not passed on to the server%s", name, word, didYouMean(v.suggest(name)))
	}
	return nil
}

// listed reports whether a name is in a list, in which a "*" at the end stands for any end.
func listed(name string, list []string) bool {
	return slices.ContainsFunc(list, func(one string) bool {
		prefix, family := strings.CutSuffix(one, "*")
		return name == one || family && strings.HasPrefix(name, prefix)
	})
}

// targets returns the settings of the server that properties stand for.
func (v *Vocabulary) targets() []string {
	var names []string
	for _, p := range v.Properties {
		if _, ok := v.Params[p.Param]; !ok && p.Param != "" {
			names = append(names, p.Param)
		}
	}
	slices.Sort(names)
	return names
}

// isMisspelt reports whether a name is another spelling of a parameter or property, or differs from it
// by one edit. It is then probably not a setting. meant is the parameter, or "" if there is none.
func (v *Vocabulary) isMisspelt(name string) (meant string, yes bool) {
	if meant = v.meant(name); meant != "" {
		return meant, true
	}
	for _, known := range append(slices.Sorted(maps.Keys(v.Params)), v.targets()...) {
		if jdbcurl.Nearly(name, known) {
			return known, true
		}
	}
	for _, property := range append(slices.Sorted(maps.Keys(v.Properties)), strings.Fields(v.Absent)...) {
		if jdbcurl.Nearly(name, property) {
			return v.Properties[property].Param, true
		}
	}
	return "", false
}

// meant returns the parameter that a name stands for in Properties or Meant, or "".
func (v *Vocabulary) meant(name string) string {
	if p, ok := v.Properties[v.property(name)]; ok && p.Param != "" {
		return p.Param
	}
	return v.Meant[jdbcurl.Plain(name)]
}

// suggest returns a parameter or setting with a similar name, or "".
func (v *Vocabulary) suggest(name string) string {
	if meant := v.meant(name); meant != "" {
		return meant
	}
	known := slices.Sorted(maps.Keys(v.Params))
	if v.Server != nil {
		known = append(known, v.Server.Names...)
	}
	return jdbcurl.Suggest(name, known)
}
