package gosqldriver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
	"github.com/sqlsecrets/sqlsecrets/internal/tlserror"
)

// Parameters of our own, with the names of the MySQL client. go-sql-driver/mysql has no parameters
// for files.
const (
	paramCA   = "ssl-ca"
	paramCert = "ssl-cert"
	paramKey  = "ssl-key"
)

var remedy = tlserror.Remedy{
	Authorities: `"ssl-ca" or driver.Options.TLS`,
	Name:        "a ServerName in driver.Options.TLS",
	Version:     "a MinVersion in driver.Options.TLS",
	Certificate: `"ssl-cert" and "ssl-key", or driver.Options.TLS`,
}

// Modes of TLS. Any other is the name of a configuration that the program has registered.
const (
	modeFalse      = "false"
	modePreferred  = "preferred"
	modeSkipVerify = "skip-verify"
	modeTrue       = "true"
)

// tlsMode returns the mode of TLS that parameters ask for. A file of certificates asks for TLS.
func tlsMode(params map[string]string) string {
	value, ok := params["tls"]
	switch {
	case ok:
	case params[paramCA] != "" || params[paramCert] != "":
		return modeTrue
	default:
		return modePreferred
	}
	if on, ok := parseBool(value); ok {
		return strconv.FormatBool(on)
	}
	if lower := strings.ToLower(value); lower == modeSkipVerify || lower == modePreferred {
		return lower
	}
	return value
}

func isRegistered(mode string) bool {
	switch mode {
	case modeFalse, modePreferred, modeSkipVerify, modeTrue:
		return false
	}
	return true
}

// endpointMode returns the mode of TLS for an endpoint. A Unix socket has no TLS, so it is an error
// there if something requires TLS.
func endpointMode(ep driver.Endpoint) (string, error) {
	mode := tlsMode(ep.Params)
	by := ""
	switch {
	case mode == modeFalse:
	case ep.IAM:
		by = "auth=iam"
	case mode != modePreferred && ep.Params["tls"] != "":
		by = `parameter "tls"`
	case mode != modePreferred:
		by = fmt.Sprintf("parameter %q or %q", paramCA, paramCert)
	case ep.TLS != nil:
		by = "driver.Options.TLS"
	case ep.Encrypt:
		by, mode = `the secret's "ssl"`, modeSkipVerify
	}
	switch {
	case !isSocket(ep.Host):
		return mode, nil
	case by == "":
		return modeFalse, nil
	}
	return "", tlserror.Socket(by, "tls=false", ep.IAM)
}

// turnsTLSOff is Info.TurnsTLSOff.
func turnsTLSOff(params map[string]string) bool { return tlsMode(params) == modeFalse }

// forIAM is Info.IAM. The server must be verified, unless the parameters have tls=skip-verify or a
// configuration that the program registers. The server asks for the token in plaintext, over TLS.
func forIAM(params map[string]string) (map[string]string, error) {
	mode := tlsMode(params)
	if mode == modeFalse {
		return nil, errors.New("iam needs TLS, and tls=false turns it off: leave that out, or give tls=skip-verify for TLS without verification")
	}
	if on, ok := parseBool(params["allowCleartextPasswords"]); ok && !on {
		return nil, errors.New("iam sends a token in plaintext, over TLS, and allowCleartextPasswords=false forbids that: leave it out")
	}
	with := map[string]string{}
	maps.Copy(with, params)
	if mode == modePreferred {
		with["tls"] = modeTrue
	}
	with["allowCleartextPasswords"] = "true"
	return with, nil
}

// checkTogether checks parameters that depend on each other, or on names that the program has
// registered.
func checkTogether(params map[string]string) error {
	mode := tlsMode(params)
	if on, _ := parseBool(params["allowCleartextPasswords"]); on && (mode == modeFalse || mode == modePreferred) {
		return errCleartext
	}
	if err := checkFiles(params, mode); err != nil {
		return err
	}
	return checkRegistered(params, mode)
}

var errCleartext = errors.New(`parameter "allowCleartextPasswords" needs tls=true, or another parameter that makes TLS required, also with driver.Options.TLS`)

// checkFiles checks that the parameters for files do not contradict the parameter tls.
func checkFiles(params map[string]string, mode string) error {
	name := paramCA
	if params[paramCA] == "" {
		name = paramCert
	}
	switch {
	case (params[paramCert] == "") != (params[paramKey] == ""):
		return fmt.Errorf("parameters %q and %q need each other", paramCert, paramKey)
	case params[name] == "":
		return nil
	case mode == modeFalse, mode == modePreferred:
		return fmt.Errorf(`parameter %q asks for TLS, and "tls" does not require it: give tls=true`, name)
	case mode == modeSkipVerify && name == paramCA:
		return fmt.Errorf(`parameter %q says how to verify the server, and "tls" says not to verify it: give tls=true`, name)
	case isRegistered(mode):
		return fmt.Errorf(`parameter %q has no effect on a configuration that the program registers: put the certificates into that`, name)
	}
	return nil
}

// checkRegistered checks that the program has registered the names that the parameters use.
func checkRegistered(params map[string]string, mode string) error {
	key, ok := params["serverPubKey"]
	if !ok && !isRegistered(mode) {
		return nil
	}
	query := "/?tls=" + url.QueryEscape(mode)
	if ok {
		query += "&serverPubKey=" + url.QueryEscape(key)
	}
	_, err := gomysql.ParseDSN(query)
	switch { // the error of the driver quotes the value
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "unknown server pub key"):
		return errors.New(`parameter "serverPubKey" has a name that is not registered: call mysql.RegisterServerPubKey with it before sql.Open`)
	}
	return errors.New(`parameter "tls": it has to be true, skip-verify, preferred or false, or a name with which mysql.RegisterTLSConfig was called before sql.Open`)
}

// setTLS replaces the driver's TLS configuration by driver.Options.TLS if that is set, reads the
// files that parameters name, and sets the name of the server to verify.
func setTLS(config *gomysql.Config, ep driver.Endpoint, mode string) error {
	if ep.TLS != nil && mode != modeFalse {
		if isRegistered(mode) {
			return errors.New(`parameter "tls" names a configuration, and driver.Options.TLS is another one: give only one of them`)
		}
		config.TLS = ep.TLS.Clone()
		if config.TLS.ServerName == "" {
			config.TLS.ServerName = ep.Host
		}
		if ep.Params["tls"] != "" && mode == modeTrue || ep.Params[paramCA] != "" {
			config.TLS.InsecureSkipVerify = false
		}
		config.AllowFallbackToPlaintext = false
	}
	if err := addFiles(config.TLS, ep.Params); err != nil {
		return err
	}
	if config.TLS != nil && config.TLS.ServerName == ep.Host {
		config.TLS.ServerName = jdbcurl.ServerName(ep.Host)
	}
	return nil
}

// addFiles adds the certificates that parameters name.
func addFiles(config *tls.Config, params map[string]string) error {
	if file := params[paramCA]; file != "" {
		if config.RootCAs != nil {
			return fmt.Errorf("parameter %q and driver.Options.TLS both have certificate authorities: give only one of them", paramCA)
		}
		pool, err := vocabulary.Authorities(file)
		if err != nil {
			return fmt.Errorf("parameter %q: %w", paramCA, err)
		}
		config.RootCAs = pool
	}
	if file := params[paramCert]; file != "" {
		if config.Certificates != nil || config.GetClientCertificate != nil {
			return fmt.Errorf("parameter %q and driver.Options.TLS both have a certificate of the client: give only one of them", paramCert)
		}
		pair, err := vocabulary.KeyPair(file, params[paramKey])
		if err != nil {
			return fmt.Errorf("parameters %q and %q: %w", paramCert, paramKey, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// files is Info.Files.
func files(params map[string]string) []string {
	return slices.Sorted(maps.Values(mySQLWords.Files(params)))
}
