package vocabulary_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func write(t *testing.T, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantError checks an error that has to name the file and what is wrong with it.
func wantError(t *testing.T, what string, err error, file, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: no error, want %q", what, want)
	case !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), want):
		t.Errorf("%s: %v, want one with %s and %q", what, err, file, want)
	case strings.Contains(err.Error(), "CANARY"):
		t.Errorf("%s: the error quotes the file: %v", what, err)
	}
}

// negativeSerial returns a certificate that crypto/x509 does not read, as there are some in
// bundles of operating systems.
func negativeSerial(t *testing.T, c *x509.Certificate) []byte {
	t.Helper()
	raw := bytes.Clone(c.Raw)
	version := []byte{0xa0, 3, 2, 1, 2} // the serial number follows, as an INTEGER
	raw[bytes.Index(raw, version)+len(version)+2] |= 0x80
	if _, err := x509.ParseCertificate(raw); err == nil || !strings.Contains(err.Error(), "negative serial number") {
		t.Fatalf("ParseCertificate = %v", err)
	}
	return raw
}

func TestAuthorities(t *testing.T) {
	one, two := testca.New(), testca.New()
	first, second := string(testca.PEM(one.Authority.Raw)), string(testca.PEM(two.Authority.Raw))
	for name, text := range map[string]string{
		"two":                              first + second,
		"text around":                      "# CANARY\n==========\n" + first + "\n--- Amazon ---\n" + second + "-- the end",
		"lines as on Windows":              strings.ReplaceAll(first+second, "\n", "\r\n"),
		"no newline in the end":            strings.TrimRight(first+second, "\n"),
		"one with a serial number below 0": first + string(testca.PEM(negativeSerial(t, one.Authority))) + second,
		"a block of another kind":          first + "-----BEGIN X509 CRL-----\nQ0FOQVJZ\n-----END X509 CRL-----\n" + second,
	} {
		pool, err := vocabulary.Authorities(write(t, text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := x509.NewCertPool()
		want.AddCert(one.Authority)
		want.AddCert(two.Authority)
		if !pool.Equal(want) {
			t.Errorf("%s: the pool has not the two authorities", name)
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":               {"", "no certificate in PEM"},
		"not PEM":             {"CANARY", "no certificate in PEM"},
		"DER":                 {string(one.Authority.Raw), "no certificate in PEM"},
		"only a key":          {"-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n", "no certificate in PEM"},
		"not a certificate":   {"-----BEGIN CERTIFICATE-----\nQ0FOQVJZ\n-----END CERTIFICATE-----\n", "in it that can be read"},
		"base64 is damaged":   {first + strings.Replace(second, "M", "*", 1), "damaged"},
		"an end without more": {first + "-----END CERTIFICATE-----\n", "damaged"},
	} {
		file := write(t, c.text)
		_, err := vocabulary.Authorities(file)
		wantError(t, name, err, file, c.want)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	_, err := vocabulary.Authorities(missing)
	wantError(t, "missing", err, missing, "no such file")
}

// A bundle that was cut off anywhere but between two certificates is an error.
func TestAuthoritiesOfAFileThatIsCutOff(t *testing.T) {
	first, second := testca.PEM(testca.New().Authority.Raw), testca.PEM(testca.New().Authority.Raw)
	whole := append(bytes.Clone(first), second...)
	file := write(t, "")
	for n := range whole {
		if err := os.WriteFile(file, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := vocabulary.Authorities(file)
		complete := n >= len(whole)-1 || n == len(first) || n == len(first)-1 // a newline may be missing
		if (err == nil) != complete {
			t.Errorf("the first %d bytes of %d+%d: %v", n, len(first), len(second), err)
		}
	}
}

func TestKeyPair(t *testing.T) {
	ca := testca.New()
	one, other := ca.Issue("one"), ca.Issue("CANARY")
	cert, key := testca.KeyPair(t, one)
	otherCert, otherKey := testca.KeyPair(t, other)
	read := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	sec1, err := x509.MarshalECPrivateKey(one.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ec := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	both := write(t, read(key)+read(cert)+string(testca.PEM(ca.Authority.Raw)))
	for name, files := range map[string][2]string{
		"two files":     {cert, key},
		"one file":      {both, both},
		"EC parameters": {cert, write(t, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"+ec)},
	} {
		pair, err := vocabulary.KeyPair(files[0], files[1])
		if err != nil || !bytes.Equal(pair.Certificate[0], one.Certificate[0]) || pair.PrivateKey == nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "one file" && len(pair.Certificate) != 2 {
			t.Errorf("%s: %d certificates, want the authority's as well", name, len(pair.Certificate))
		}
	}

	text := read(key)
	cutKey, cutCert := write(t, text[:len(text)/2]), write(t, read(cert)[:100])
	encrypted := write(t, strings.ReplaceAll(text, "PRIVATE", "ENCRYPTED PRIVATE"))
	older := write(t, strings.Replace(ec, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: CANARY,00\n\n", 1))
	garbage := write(t, "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n")
	notCert := write(t, "-----BEGIN CERTIFICATE-----\nQ0FOQVJZ\n-----END CERTIFICATE-----\n")
	for name, c := range map[string]struct{ cert, key, file, want string }{
		"another's key":            {cert, otherKey, otherKey, "not the one of the certificate in " + cert},
		"another's certificate":    {otherCert, key, key, "not the one of the certificate in " + otherCert},
		"the key cut off":          {cert, cutKey, cutKey, "cut off"},
		"the certificate cut off":  {cutCert, key, cutCert, "cut off"},
		"no key":                   {cert, cert, cert, "no private key in PEM"},
		"no certificate":           {key, key, key, "no certificate in PEM"},
		"an encrypted key":         {cert, encrypted, encrypted, "is encrypted"},
		"an older encrypted key":   {cert, older, older, "is encrypted"},
		"an unreadable key":        {cert, garbage, garbage, "private key cannot be read"},
		"unreadable certificate":   {notCert, key, notCert, "certificate cannot be read"},
		"the key is missing":       {cert, cert + ".no", cert + ".no", "no such file"},
		"certificate file missing": {cert + ".no", key, cert + ".no", "no such file"},
	} {
		_, err := vocabulary.KeyPair(c.cert, c.key)
		wantError(t, name, err, c.file, c.want)
	}
}
