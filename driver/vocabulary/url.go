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

// A Property is one of the JDBC driver's. It stands for a parameter, is without effect, or
// has no counterpart.
type Property struct {
	// Param is the parameter that it stands for. If it is empty, the property has no
	// effect, or is an error.
	Param string

	// Values are the values that it may have, in the case given, with the parameter's; ""
	// sets nothing. Nil: any. See also [Vocabulary.AnyCaseValues].
	Values map[string]string

	// Translate returns the parameter's value, "" to set nothing. It replaces Values.
	Translate func(value string) (string, error)

	// Hint says what there is instead, where a property or a value has no counterpart.
	Hint string

	// Bare says that the property may stand without "=" and a value.
	Bare bool

	// Apply takes the place of all of that, for a property that is about more than one
	// parameter.
	Apply func(t *Translation, p Pair) error
}

// A Pair is a property as a URL has it, with its decoded value.
type Pair = jdbcurl.Property

// None is a property without a counterpart. hint says what there is instead, or is empty.
func None(hint string) Property { return Property{Hint: hint} }

// Choose is a property with a fixed set of values, given as pairs of the property's and the
// parameter's: Choose("default_transaction_read_only", "true", "on", "false", "").
func Choose(param string, values ...string) Property {
	p := Property{Param: param, Values: map[string]string{}}
	for pair := range slices.Chunk(values, 2) {
		p.Values[pair[0]] = pair[1]
	}
	return p
}

// Only is a property that may have just these values, which are what the vendor's driver
// does anyway. hint says what there is for others, or is empty.
func Only(hint string, values ...string) Property {
	p := Property{Values: map[string]string{}, Hint: hint}
	for _, v := range values {
		p.Values[v] = ""
	}
	return p
}

// NoEffect is a property that says what makes no difference with the vendor's driver. check
// says what is wrong with a value.
func NoEffect(check func(value string) error) Property {
	return Property{Translate: func(v string) (string, error) { return "", check(v) }}
}

// A Translation is a URL on its way to an endpoint and parameters.
type Translation struct {
	driver.URL
	Notes map[string]string // what Apply leaves for Finish

	vocabulary *Vocabulary
	own        func(property string) bool // tells the Connector's
	from       map[string]string          // the property that set a parameter
}

// NewTranslation returns one without properties, for URLs that are not of the form that
// [Vocabulary.ParseURL] parses.
func (v *Vocabulary) NewTranslation() *Translation {
	return &Translation{URL: driver.URL{Params: map[string]string{}}, Notes: map[string]string{}, vocabulary: v, from: map[string]string{}}
}

// ParseURL parses a URL of the form
//
//	scheme://host:port/database?user=<secret id>&name=value
//
// for [driver.Engine] ParseURL. All but the user may be missing. Values and the database
// are percent-decoded; a "+" is itself.
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

// Translate adds the properties of a URL and returns what it is then. A property that says as
// whom to connect is an error, except "user". own tells which properties are the Connector's.
func (t *Translation) Translate(pairs []Pair, own func(property string) bool) (driver.URL, error) {
	// First of all, because other errors may quote what follows a "&" in a password.
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
		return driver.URL{}, errors.New(`the URL has no "user"; it is the id of the secret`)
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
		return t.Set(p.Name, p.Name, p.Value) // Check knows it or not
	case known.Apply != nil:
		return known.Apply(t, p)
	}
	return t.translate(known, p)
}

// translate sets the parameter that a property stands for, if its value sets one.
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

// asItIs reports whether a property's value is the parameter's.
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

// Set sets a parameter. Two properties that set one are an error.
func (t *Translation) Set(property, param, value string) error {
	key := t.vocabulary.fold(param)
	if other, ok := t.from[key]; ok {
		return fmt.Errorf("properties %q and %q are the same", other, property)
	}
	t.Params[param], t.from[key] = value, property
	return nil
}

// SetSetting sets a setting of the server for a property that lists some, from its Apply.
// A name that stands for something else is an error: a list of settings sets no parameter.
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

// property returns the key of a property in Properties.
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

// Names returns the names of the parameters that are taken and refused, and of the properties,
// each sorted, for a test of what a page says about them.
func (v *Vocabulary) Names() (params, properties []string) {
	params = slices.Sorted(maps.Keys(v.Params))
	params = append(params, slices.Sorted(maps.Keys(v.Refused))...)
	return params, slices.Sorted(maps.Keys(v.Properties))
}
