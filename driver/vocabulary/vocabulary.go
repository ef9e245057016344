// Package vocabulary describes, as tables, which parameters an engine takes in a data
// source name and which properties in a JDBC URL. An engine fills in a [Vocabulary] and
// calls it from its CheckParams and ParseURL.
//
// Errors name the parameter or property that is wrong, and what to give instead. They
// quote no values, and a name only if it looks like one: what is wrong may be that a part
// of a password stands where a name should.
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

// A Vocabulary is what an engine takes. It is used from several goroutines at once, so it
// must not change.
type Vocabulary struct {
	// Vendor is the vendor's driver, for error texts: "pgx".
	Vendor string

	// Params are the parameters, by name in the vendor's spelling.
	Params map[string]Param

	// Refused are parameters that the vendor's driver knows and the engine does not take,
	// with the reason. A key that ends in "*" stands for all names that begin so.
	Refused map[string]string

	// Meant are names that people give by mistake, in lower case without separators, with
	// the parameter that they mean: "usessl" means "tls".
	Meant map[string]string

	// Fold returns the form in which names of parameters are compared, if the vendor's
	// driver ignores case or spaces. The keys of Params and Refused have this form. Nil
	// compares names as they are.
	Fold func(name string) string

	// Server says which other names are settings of the server's session. Nil: none.
	Server *Settings

	// Together checks parameters that depend on each other, by their names in Params. Nil
	// checks nothing.
	Together func(params map[string]string) error

	// Properties are those of the JDBC driver, by name, or by name in lower case if
	// AnyCase is set. A key that ends in "*" stands for all names that begin so. One that
	// is not among them is taken for a parameter.
	Properties map[string]Property
	AnyCase    bool

	// AnyCaseValues ignores case in the values of properties with Values, which are in
	// lower case.
	AnyCaseValues bool

	// Absent are names of properties that have no counterpart, separated by white space.
	// One that ends in "*" stands for all names that begin so.
	Absent string

	// Hosts reads the part of a URL before the path, if an engine takes more there than one
	// host with or without a port. Nil: one host.
	Hosts func(authority string) (host string, port int, err error)

	// Finish settles what depends on several properties of a URL. Nil settles nothing.
	Finish func(t *Translation) error
}

// A Param is a parameter of the vendor's driver.
type Param struct {
	Check func(value string) error // what is wrong with a value, without quoting it; nil: nothing
	File  bool                     // the value is the name of a file
}

// Settings are names that go to the server.
type Settings struct {
	// Names is the whole list, in lower case and sorted. If it is nil, every name is a
	// setting that is not a misspelt parameter or property and does not look as if it were
	// about TLS or a login.
	Names []string

	// Harmless are settings of real servers that look as if they were, in lower case:
	// "password_encryption". One that ends in "*" stands for all names that begin so.
	Harmless []string

	// Check says what is wrong with a setting. Nil: nothing.
	Check func(name, value string) error
}

// Check says what is wrong with parameters, for [driver.Engine] CheckParams.
func (v *Vocabulary) Check(params map[string]string) error {
	_, err := v.Read(params)
	return err
}

// Read checks parameters and returns them by their names in Params; settings of the server
// keep the names that they have.
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

// checkOne checks a parameter or, if it is not known as one, a setting.
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

// CheckValue says what is wrong with the value of a parameter. A name that is no
// parameter's may have any value.
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

// Files returns those of params that name a file.
func (v *Vocabulary) Files(params map[string]string) map[string]string {
	files := map[string]string{}
	for name, value := range params {
		if v.Params[v.fold(name)].File {
			files[name] = value
		}
	}
	return files
}

// find looks a name up in a table, in which a key that ends in "*" stands for all names that
// begin so. The longest key counts.
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

// checkSetting says what is wrong with a name that is not a parameter's.
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

// sensitive returns the word in a name that says that it is about TLS or a login. A server
// may ignore such a name, and then a typo would turn TLS off.
func sensitive(lower string) string {
	for _, word := range []string{"ssl", "tls", "cert", "crypt", "verify", "trust", "secure", "auth"} {
		if strings.Contains(lower, word) {
			return word
		}
	}
	return ""
}

// checkOpen checks a name that the server is to judge.
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

// listed reports whether a list has a name, or the beginning of one with a "*".
func listed(name string, list []string) bool {
	return slices.ContainsFunc(list, func(one string) bool {
		prefix, family := strings.CutSuffix(one, "*")
		return name == one || family && strings.HasPrefix(name, prefix)
	})
}

// targets are the settings of the server that properties stand for.
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

// isMisspelt reports whether a name is another spelling of a parameter or property, or one
// edit away from it, and so hardly a setting. meant is the parameter, if there is one.
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

// meant returns the parameter that a name stands for by the tables, or "".
func (v *Vocabulary) meant(name string) string {
	if p, ok := v.Properties[v.property(name)]; ok && p.Param != "" {
		return p.Param
	}
	return v.Meant[jdbcurl.Plain(name)]
}

// suggest returns the parameter or setting that one who wrote name may have meant, or "".
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
