package testca

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"path/filepath"
	"testing"
)

// This file writes an Oracle wallet for automatic login, in the form that go-ora reads: a header
// with a password that is encrypted with a key in the same header, and PKCS #12 with that password.
// The tests do not have Oracle's tools to make one.

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

// Wallet writes a wallet into a folder of the test, with certificates and the key of a client. The
// key may be nil.
func Wallet(tb testing.TB, key *rsa.PrivateKey, certificates ...[]byte) (folder string) {
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
	return filepath.Dir(WriteFile(tb, "cwallet.sso", append(b, store.FullBytes...)))
}
