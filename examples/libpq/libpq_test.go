package libpq_test

import (
	"errors"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/examples/libpq"
)

// A preparing engine keeps the parameters of the endpoint and does not dial.
type preparing struct {
	libpq.Engine
	params map[string]string
}

func (p *preparing) Prepare(ep driver.Endpoint) (driver.Login, error) {
	if _, err := p.Engine.Prepare(ep); err != nil {
		return nil, err
	}
	p.params = ep.Params
	return nil, errors.New("not dialed")
}

func TestVocabulary(t *testing.T) {
	drivertest.RunVocabulary(t, drivertest.Vocabulary{
		Words: libpq.Words, Page: "README.md",
		Params: drivertest.Table{Heading: "parameter", Cases: map[string][]drivertest.Case{"prod/app?": drivertest.Cases(`
			sslmode=require => sslmode="require"
			sslmode=prefer => error: one of disable, require
			sslrootcert=ca.pem => sslrootcert="ca.pem"
			sslrootcert=CANARY&sslmode=disable => error: no effect
			connect_timeout=5 => connect_timeout="5"
			connect_timeout=CANARY => error: number of seconds
			application_name=a => application_name="a"
			search_path=app => search_path="app"
			password_encryption=md5 => password_encryption="md5"
			work_mem=4MB => work_mem="4MB"
			sslkey=CANARY => error: not passed on
		`)}},
		Properties: drivertest.Table{Heading: "property", Cases: map[string][]drivertest.Case{
			"jdbc-secretsmanager:postgresql://h/db?user=prod/app&": drivertest.Cases(`
				ApplicationName=a => application_name="a"
				connectTimeout=5 => connect_timeout="5"
				connectTimeout=CANARY => error: number of seconds
				currentSchema=app => search_path="app"
				tcpKeepAlive=true =>
				tcpKeepAlive=false => error: counterpart
				sslfactory=CANARY => error: sslrootcert names authorities
			`)}},
		Open: func(t *testing.T, dsn string) (drivertest.Fields, error) {
			p := &preparing{params: map[string]string{}}
			err := drivertest.Connect(t.Context(), p, dsn, `{"host":"h","username":"u","password":"p"}`)
			if errors.Is(err, driver.ErrBadDSN) {
				return nil, err
			}
			return drivertest.FieldsOf(p.params), nil
		},
	})
}
