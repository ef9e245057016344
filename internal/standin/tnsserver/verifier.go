package tnsserver

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"strings"
)

// verifierType is the type of password hash that is the default since Oracle 12c.
const verifierType = 18453

// Numbers of iterations, as in Oracle.
const (
	verifierIterations = 4096
	keyIterations      = 3
)

// A verifier is what the database keeps of a password: the "T:" of SYS.USER$.SPARE4, and the salt.
// The stand-in also keeps the password, because tests log in often and deriving the hash again
// takes milliseconds.
type verifier struct {
	salt     [16]byte
	hash     [64]byte
	password string // "" if it belongs to no user
}

func newVerifier(password string) verifier {
	v := verifier{password: password}
	_, _ = rand.Read(v.salt[:])
	v.hash = v.hashOf(v.speedyKey(password))
	return v
}

// fakeVerifier returns a verifier for a user that does not exist. Its salt is always the same for a
// name, and no password has its hash.
func fakeVerifier(secret []byte, name string) verifier {
	mac := hmac.New(sha512.New, secret)
	mac.Write([]byte(name))
	var v verifier
	copy(v.salt[:], mac.Sum(nil))
	_, _ = rand.Read(v.hash[:])
	return v
}

func (v verifier) speedyKey(password string) []byte {
	return derive(password, append(bytes.Clone(v.salt[:]), "AUTH_PBKDF2_SPEEDY_KEY"...), verifierIterations, 64)
}

func (v verifier) hashOf(speedyKey []byte) [64]byte {
	return sha512.Sum512(append(bytes.Clone(speedyKey), v.salt[:]...))
}

// is reports whether password is the right one.
func (v verifier) is(password string) bool { return v.password != "" && password == v.password }

func derive(password string, salt []byte, iterations, length int) []byte {
	key, err := pbkdf2.Key(sha512.New, password, salt, iterations, length)
	if err != nil {
		panic(err) // the length is a constant
	}
	return key
}

// A challenge is the server's half of the key agreement of one login.
type challenge struct {
	verifier verifier
	key      [32]byte // the server's half
	mixSalt  [16]byte
}

// An answer is the client's half of the key agreement, in hexadecimal as the client sends it.
type answer struct{ sessionKey, password, speedyKey string }

func newChallenge(v verifier) challenge {
	c := challenge{verifier: v}
	_, _ = rand.Read(c.key[:])
	_, _ = rand.Read(c.mixSalt[:])
	return c
}

// pairs returns the first reply to a client.
func (c challenge) pairs() []pair {
	return []pair{
		{"AUTH_SESSKEY", upperHex(crypt(c.verifier.hash[:32], c.key[:], true)), 0},
		{"AUTH_VFR_DATA", upperHex(c.verifier.salt[:]), verifierType},
		{"AUTH_PBKDF2_CSK_SALT", upperHex(c.mixSalt[:]), 0},
		{"AUTH_PBKDF2_VGEN_COUNT", "4096", 0},
		{"AUTH_PBKDF2_SDER_COUNT", "3", 0},
	}
}

// combined returns the key that both sides have if the password is right.
func (c challenge) combined(a answer) ([]byte, error) {
	b, err := hex.DecodeString(a.sessionKey)
	if err != nil || len(b) != len(c.key) {
		return nil, errors.New("AUTH_SESSKEY is not 32 bytes")
	}
	client := crypt(c.verifier.hash[:32], b, false)
	return derive(upperHex(append(client, c.key[:]...)), c.mixSalt[:], keyIterations, 32), nil
}

// check reports whether an answer has the right password and the key that is derived from it.
func (c challenge) check(a answer) bool {
	key, err := c.combined(a)
	if err != nil {
		return false
	}
	password, err1 := open(key, a.password)
	speedy, err2 := open(key, a.speedyKey)
	if err1 != nil || err2 != nil || len(speedy) < 64 {
		return false
	}
	password, ok := unpad(password)
	if !ok {
		return false
	}
	bySpeedy := c.verifier.hashOf(speedy[:64])
	return bySpeedy == c.verifier.hash && c.verifier.is(string(password))
}

// response returns the proof that the server has the key as well.
func (c challenge) response(a answer) (string, error) {
	key, err := c.combined(a)
	if err != nil {
		return "", err
	}
	plain := make([]byte, 16, 48)
	_, _ = rand.Read(plain)
	plain = append(plain, "SERVER_TO_CLIENT"...)
	plain = append(plain, bytes.Repeat([]byte{16}, 16)...)
	return upperHex(crypt(key, plain, true)), nil
}

// open decrypts a message that begins with 16 random bytes.
func open(key []byte, text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) < 32 || len(b)%aes.BlockSize != 0 {
		return nil, errors.New("not encrypted blocks")
	}
	return crypt(key, b, false)[16:], nil
}

func unpad(b []byte) ([]byte, bool) {
	n := int(b[len(b)-1])
	if n < 1 || n > aes.BlockSize || n > len(b) || !bytes.Equal(b[len(b)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, false
	}
	return b[:len(b)-n], true
}

// crypt encrypts or decrypts with AES in CBC mode, without padding and with an initialization
// vector of zeros.
func crypt(key, b []byte, encrypt bool) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key is 32 bytes
	}
	out := make([]byte, len(b))
	iv := make([]byte, aes.BlockSize)
	if encrypt {
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, b)
	} else {
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, b)
	}
	return out
}

func upperHex(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }
