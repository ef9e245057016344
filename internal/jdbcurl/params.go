package jdbcurl

import "fmt"

// Params are the parameters of a vendor's driver that the properties of a URL stand for.
// The zero Params has none.
type Params struct {
	Values map[string]string
	Plain  func(name string) string // how parameters are told apart; nil: by their names

	from map[string]string // the property that set a parameter, by its plain name
}

// Set sets a parameter. Two properties that stand for one are an error.
func (p *Params) Set(property, param, value string) error {
	if p.Values == nil {
		p.Values = map[string]string{}
	}
	if p.from == nil {
		p.from = map[string]string{}
	}
	plain := param
	if p.Plain != nil {
		plain = p.Plain(param)
	}
	if other, ok := p.from[plain]; ok {
		return fmt.Errorf("properties %q and %q are the same", other, property)
	}
	p.Values[param], p.from[plain] = value, property
	return nil
}

// Translate sets the parameter that a property stands for, or none if translate returns
// an empty value. A nil translate leaves the value as it is. check, which may be nil, says
// what the parameter makes of it; errors name the property.
func (p *Params) Translate(property, value, param string, translate func(value string) (string, error), check func(param, value string) error) error {
	if translate != nil {
		var err error
		if value, err = translate(value); err != nil {
			return fmt.Errorf("property %q: %w", property, err)
		}
		if value == "" {
			return nil
		}
	}
	if check != nil {
		if err := check(param, value); err != nil {
			return fmt.Errorf("property %q: %w", property, err)
		}
	}
	return p.Set(property, param, value)
}
