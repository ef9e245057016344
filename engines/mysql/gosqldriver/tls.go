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

// Parameters of our own, as the MySQL client names them. go-sql-driver/mysql has no files.
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

// tlsMode returns what parameters say about TLS. Files ask for it.
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

// endpointMode returns what an endpoint says about TLS. On a Unix socket there is none, and it
// is an error if something requires it.
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

// forIAM is Info.IAM: without tls=skip-verify, or a configuration that the program registers, the
// server has to be verified. The server asks for the token as it is.
func forIAM(params map[string]string) (map[string]string, error) {
	mode := tlsMode(params)
	if mode == modeFalse {
		return nil, errors.New("iam needs TLS, and tls=false turns it off: leave that out, or give tls=skip-verify for TLS without verification")
	}
	if on, ok := parseBool(params["allowCleartextPasswords"]); ok && !on {
		return nil, errors.New("iam sends a token as it is, over TLS, and allowCleartextPasswords=false forbids it: leave that out")
	}
	with := map[string]string{}
	maps.Copy(with, params)
	if mode == modePreferred {
		with["tls"] = modeTrue
	}
	with["allowCleartextPasswords"] = "true"
	return with, nil
}

// checkTogether checks parameters that depend on each other or on what the program has
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

var errCleartext = errors.New(`parameter "allowCleartextPasswords" needs tls=true, or another that makes TLS required, also with driver.Options.TLS`)

// checkFiles checks that files do not contradict tls.
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
		return fmt.Errorf(`parameter %q asks for TLS, and "tls" does not require it; give tls=true`, name)
	case mode == modeSkipVerify && name == paramCA:
		return fmt.Errorf(`parameter %q says what to verify the server by, and "tls" not to verify it; give tls=true`, name)
	case isRegistered(mode):
		return fmt.Errorf(`parameter %q is not for a configuration that the program registers; put the certificates into that`, name)
	}
	return nil
}

// checkRegistered checks names that the program has to have registered.
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
	switch { // the cause quotes the value
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "unknown server pub key"):
		return errors.New(`parameter "serverPubKey": call mysql.RegisterServerPubKey with that name before sql.Open`)
	}
	return errors.New(`parameter "tls": it has to be true, skip-verify, preferred or false, or a name with which mysql.RegisterTLSConfig was called before sql.Open`)
}

// setTLS has the caller's TLS configuration take the place of the driver's, reads the files
// that parameters name, and names the server to verify.
func setTLS(config *gomysql.Config, ep driver.Endpoint, mode string) error {
	if ep.TLS != nil && mode != modeFalse {
		if isRegistered(mode) {
			return errors.New(`parameter "tls" names a configuration, and driver.Options.TLS is another`)
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
			return fmt.Errorf("parameter %q says what to verify by, and driver.Options.TLS does", paramCA)
		}
		pool, err := vocabulary.Authorities(file)
		if err != nil {
			return fmt.Errorf("parameter %q: %w", paramCA, err)
		}
		config.RootCAs = pool
	}
	if file := params[paramCert]; file != "" {
		if config.Certificates != nil || config.GetClientCertificate != nil {
			return fmt.Errorf("parameter %q names a certificate, and driver.Options.TLS has another", paramCert)
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
