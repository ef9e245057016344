package goora_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/testca"
	"github.com/sqlsecrets/sqlsecrets/internal/tnsserver"
)

// What follows writes a wallet for automatic login, as go-ora reads one: a header with
// a password that is encrypted with a key in the same header, and PKCS #12 with that
// password. None of Oracle's tools is here to make one.

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
}

type algorithm struct {
	Algorithm  asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

type bag struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue `asn1:"tag:0,explicit"`
}

var (
	oidData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncrypted = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidPBES2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidSHA256    = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oidKeyBag    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidCertBag   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidX509      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
)

func writeWallet(tb testing.TB, key *rsa.PrivateKey, certificates ...[]byte) (folder string) {
	tb.Helper()
	der := func(v any) asn1.RawValue {
		b, err := asn1.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		return asn1.RawValue{FullBytes: b}
	}
	explicit := func(v any) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der(v).FullBytes}
	}
	encrypt := func(key, iv, plain []byte) []byte {
		block, err := aes.NewCipher(key)
		if err != nil {
			tb.Fatal(err)
		}
		out := make([]byte, len(plain))
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, plain)
		return out
	}
	var bags []bag
	if key != nil {
		b, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			tb.Fatal(err)
		}
		bags = append(bags, bag{oidKeyBag, explicit(asn1.RawValue{FullBytes: b})})
	}
	for _, c := range certificates {
		bags = append(bags, bag{oidCertBag, explicit(struct {
			ID   asn1.ObjectIdentifier
			Data asn1.RawValue
		}{oidX509, explicit(c)})})
	}
	password, salt, iv := []byte("sixteen letters!"), []byte("saltsalt"), make([]byte, 16)
	plain := der(bags).FullBytes
	n := 16 - len(plain)%16
	plain = append(plain, bytes.Repeat([]byte{byte(n)}, n)...)
	bagKey, err := pbkdf2.Key(sha256.New, string(password), salt, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	scheme := der(struct{ KDF, Encryption algorithm }{
		algorithm{oidPBKDF2, der(struct {
			Salt       []byte
			Iterations int
			PRF        algorithm
		}{salt, 10, algorithm{oidSHA256, asn1.NullRawValue}})},
		algorithm{oidAES256, der(iv)},
	})
	safe := der([]contentInfo{{oidEncrypted, explicit(struct {
		Version int
		Info    struct {
			Type      asn1.ObjectIdentifier
			Algorithm algorithm
			Content   asn1.RawValue
		}
	}{0, struct {
		Type      asn1.ObjectIdentifier
		Algorithm algorithm
		Content   asn1.RawValue
	}{oidData, algorithm{oidPBES2, scheme}, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, Bytes: encrypt(bagKey, iv, plain)}}})}})
	store := der(struct {
		Version int
		Safe    contentInfo
	}{3, contentInfo{oidData, explicit(safe.FullBytes)}})

	headerKey := []byte("another 16 bytes")
	headerIV := []byte{192, 52, 216, 49, 28, 2, 206, 248, 81, 240, 20, 75, 129, 237, 75, 242}
	b := []byte{161, 248, 78, '6'}
	b = binary.BigEndian.AppendUint32(b, 6)
	b = binary.BigEndian.AppendUint32(b, uint32(1+16+len(password)))
	b = append(append(b, 6), headerKey...)
	b = append(b, encrypt(headerKey, headerIV, password)...)
	folder = tb.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "cwallet.sso"), append(b, store.FullBytes...), 0o600); err != nil {
		tb.Fatal(err)
	}
	return folder
}

// A wallet's certificate for the client is what the server sees.
func TestWalletOfTheClient(t *testing.T) {
	certs := testca.New("127.0.0.1")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := certs.Server.Clone()
	server.ClientAuth = tls.RequireAnyClientCert
	seen := make(chan string, 2)
	server.VerifyConnection = func(s tls.ConnectionState) error {
		seen <- s.PeerCertificates[0].Subject.CommonName
		return nil
	}
	s := start(t, &tnsserver.Options{TLS: server})
	wallet := writeWallet(t, key, der, certs.Authority.Raw)
	conn, err := connect(t, goora.Engine{}, endpoint(s, "SSL", "true", "WALLET", wallet), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if got := <-seen; got != "client" {
		t.Errorf("the server saw a certificate of %q, want client", got)
	}
	if _, err := connect(t, goora.Engine{}, endpoint(s, "SSL", "true", "WALLET", writeWallet(t, nil, certs.Authority.Raw)), goodPassword); err == nil {
		t.Error("Connect succeeded without the client's certificate")
	}
	wantLogins(t, s, 1, 0)
}

func TestBrokenWallets(t *testing.T) {
	folder := writeWallet(t, nil, testca.New("x").Authority.Raw)
	whole, err := os.ReadFile(filepath.Join(folder, "cwallet.sso"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil)
	prepare := func(b []byte) error {
		name := filepath.Join(folder, "broken.sso")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := goora.Engine{}.Prepare(endpoint(s, "SSL", "true", "WALLET", name))
		return err
	}
	if err := prepare(whole); err != nil {
		t.Fatalf("a whole wallet: %v", err)
	}
	for n := range len(whole) - 1 {
		if prepare(whole[:n]) == nil {
			t.Errorf("a wallet cut off after %d of %d bytes is taken", n, len(whole))
		}
	}
}
