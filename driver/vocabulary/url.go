package vocabulary

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

// A Property is a property of the JDBC driver. There are three kinds:
//
//   - It stands for a parameter: Param is set. [Choose] makes one.
//   - It has no effect: Param is empty, and Values or Translate decides which values are allowed.
//     [Only] and [NoEffect] make one.
//   - It is an error, because it has no counterpart in the vendor's driver: Param, Values, Translate
//     and Apply are zero. [None] makes one.
type Property struct {
	// Param is the parameter that the property stands for.
	Param string

	// Values are the values that the property may have, each with the parameter's value; "" sets
	// nothing. Other values are errors. Nil allows all values and passes them on unchanged. See
	// also [Vocabulary.AnyCaseValues].
	Values map[string]string

	// Translate returns the parameter's value, or "" to set nothing. It replaces Values.
	Translate func(value string) (string, error)

	// Hint says what to use instead of a property or a value without a counterpart, for the error.
	Hint string

	// Bare allows the property without "=" and a value.
	Bare bool

	// Apply replaces all other fields but Bare, for a property that stands for more than one
	// parameter. It calls the methods of t.
	Apply func(t *Translation, p Pair) error
}

// A Pair is a property in a URL. Its fields are Name and Value, which are decoded strings, and Bare,
// which is true if the property has no "=".
type Pair = jdbcurl.Property

// None returns a property without a counterpart. hint says what to use instead, or is empty.
func None(hint string) Property { return Property{Hint: hint} }

// Choose returns a property with a fixed set of values. values are pairs of the property's value and
// the parameter's value: Choose("default_transaction_read_only", "true", "on", "false", "").
func Choose(param string, values ...string) Property {
	p := Property{Param: param, Values: map[string]string{}}
	for pair := range slices.Chunk(values, 2) {
		p.Values[pair[0]] = pair[1]
	}
	return p
}

// Only returns a property that may have only these values, which describe what the vendor's driver does
// anyway. hint says what to use for other values, or is empty.
func Only(hint string, values ...string) Property {
	p := Property{Values: map[string]string{}, Hint: hint}
	for _, v := range values {
		p.Values[v] = ""
	}
	return p
}

// NoEffect returns a property that makes no difference with the vendor's driver. check returns what is
// wrong with a value, or nil.
func NoEffect(check func(value string) error) Property {
	return Property{Translate: func(v string) (string, error) { return "", check(v) }}
}

// A Translation is a URL while its properties are translated to parameters.
type Translation struct {
	driver.URL
	Notes map[string]string // Apply can store here what Finish needs; the keys are its own

	vocabulary *Vocabulary
	own        func(property string) bool // reports whether a property is the Connector's
	from       map[string]string          // by parameter, the property that set it
}

// NewTranslation returns a Translation without properties. It is for URLs that do not have the form
// that [Vocabulary.ParseURL] parses.
func (v *Vocabulary) NewTranslation() *Translation {
	return &Translation{URL: driver.URL{Params: map[string]string{}}, Notes: map[string]string{}, vocabulary: v, from: map[string]string{}}
}

// ParseURL parses a URL of the form
//
//	scheme://host:port/database?user=<secret id>&name=value
//
// [driver.Engine].ParseURL calls it. Only the user is required. Values and the database are
// percent-decoded; a "+" stays a "+".
func (v *Vocabulary) ParseURL(url string, own func(property string) bool) (driver.URL, error) {
	parts := jdbcurl.Split(url)
	pairs, err := jdbcurl.Properties(parts.Query)
	if err != nil {
		return driver.URL{}, err
	}
	t := v.NewTranslation()
	hosts := v.Hosts
	if hosts == nil {
		hosts = jdbcurl.SplitHostPort
	}
	if t.Host, t.Port, err = hosts(parts.Authority); err != nil {
		return driver.URL{}, err
	}
	if strings.IndexByte(parts.Path, '/') >= 0 {
		return driver.URL{}, errors.New(`the URL has a "/" too many; write "%2F" for one in the database's name`)
	}
	if t.Database, err = jdbcurl.Unescape(parts.Path); err != nil {
		return driver.URL{}, fmt.Errorf("the database's name: %w", err)
	}
	return t.Translate(pairs, own)
}

// Translate adds the properties of a URL and returns the result. Properties for credentials, such as
// "password", are errors, except "user". own reports whether a property is the Connector's.
func (t *Translation) Translate(pairs []Pair, own func(property string) bool) (driver.URL, error) {
	// This comes first, because other errors may quote what follows a "&" in a password.
	if err := jdbcurl.CheckCredentials(pairs); err != nil {
		return driver.URL{}, err
	}
	t.own = own
	for _, p := range pairs {
		var err error
		switch {
		case p.Name == "user":
			t.SecretID = p.Value
		case own(p.Name):
			err = t.Set(p.Name, p.Name, p.Value)
		default:
			err = t.property(p)
		}
		if err != nil {
			return driver.URL{}, err
		}
	}
	if t.SecretID == "" {
		return driver.URL{}, errors.New(`the URL has no "user", which is the id of the secret`)
	}
	if finish := t.vocabulary.Finish; finish != nil {
		if err := finish(t); err != nil {
			return driver.URL{}, err
		}
	}
	return t.URL, nil
}

// property adds a property that is not the Connector's.
func (t *Translation) property(p Pair) error {
	v := t.vocabulary
	known, ok := find(v.Properties, v.property(p.Name))
	if !ok && v.isAbsent(p.Name) {
		known, ok = None(""), true
	}
	switch {
	case p.Bare && !known.Bare:
		// Not quoted: it may be what follows a "&" in a value.
		return errors.New("a property has no value")
	case !ok:
		return t.Set(p.Name, p.Name, p.Value) // Check decides whether there is such a parameter
	case known.Apply != nil:
		return known.Apply(t, p)
	}
	return t.translate(known, p)
}

// translate sets the parameter that a property stands for, unless its value sets nothing.
func (t *Translation) translate(known Property, p Pair) error {
	value, err := known.value(p.Value, t.vocabulary)
	if err == nil && known.Param != "" && (value != "" || known.asItIs()) {
		err = t.vocabulary.CheckValue(known.Param, value)
		if err == nil {
			return t.Set(p.Name, known.Param, value)
		}
	}
	if err != nil {
		return fmt.Errorf("property %q: %w", p.Name, err)
	}
	return nil
}

// asItIs reports whether the parameter gets the property's value unchanged.
func (p *Property) asItIs() bool { return p.Values == nil && p.Translate == nil }

// value returns the parameter's value.
func (p *Property) value(value string, v *Vocabulary) (string, error) {
	switch {
	case p.Translate != nil:
		return p.Translate(value)
	case p.Values != nil:
		if v.AnyCaseValues {
			value = strings.ToLower(value)
		}
		if value, ok := p.Values[value]; ok {
			return value, nil
		}
		return "", errors.New("a value without a counterpart in " + v.Vendor + p.hint())
	case p.Param == "":
		return "", errors.New("it has no counterpart in " + v.Vendor + p.hint())
	}
	return value, nil
}

func (p *Property) hint() string {
	if p.Hint == "" {
		return ""
	}
	return "; " + p.Hint
}

// Set sets a parameter, from Property.Apply or Finish. It is an error if two properties set the same
// one.
func (t *Translation) Set(property, param, value string) error {
	key := t.vocabulary.fold(param)
	if other, ok := t.from[key]; ok {
		return fmt.Errorf("properties %q and %q are the same", other, property)
	}
	t.Params[param], t.from[key] = value, property
	return nil
}

// SetSetting sets a setting of the server, from Property.Apply of a property that lists settings. The
// name of a parameter is an error.
func (t *Translation) SetSetting(property, name, value string) error {
	v := t.vocabulary
	if _, known := v.Params[v.fold(name)]; known || t.own(name) {
		return fmt.Errorf("property %q: %q is not a setting of the server", property, name)
	}
	if err := v.checkOne(name, value, false); err != nil {
		return fmt.Errorf("property %q: %w", property, err)
	}
	return t.Set(property, name, value)
}

// property returns the form in which a property is a key of Properties.
func (v *Vocabulary) property(name string) string {
	if v.AnyCase {
		return strings.ToLower(name)
	}
	return name
}

// isAbsent reports whether a property has no counterpart.
func (v *Vocabulary) isAbsent(name string) bool {
	return listed(v.property(name), strings.Fields(v.property(v.Absent)))
}

// Names returns the names in Params and Refused, and the names in Properties. A test compares them with
// an engine's page.
func (v *Vocabulary) Names() (params, properties []string) {
	params = slices.Sorted(maps.Keys(v.Params))
	params = append(params, slices.Sorted(maps.Keys(v.Refused))...)
	return params, slices.Sorted(maps.Keys(v.Properties))
}
