package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A sealer is a [secretcache.Hook] that keeps values in the cache encrypted with AES-256-GCM.
//
// The sealer makes the key, and the key is nowhere else. Each value gets a random nonce of 96 bits,
// which is safe for 2³² values with one key (NIST SP 800-38D, 8.3). The kind of the value, the
// secret's id and its version are authenticated. A value that was sealed for one secret and version
// does not open for another.
type sealer struct{ aead cipher.AEAD }

var _ secretcache.Hook = (*sealer)(nil)

func newSealer() (*sealer, error) {
	key := make([]byte, 32)
	defer clear(key) // the cipher keeps its own expanded key
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead}, err
}

// The kinds of values. The first byte of a sealed value is its kind.
const (
	kindText byte = iota
	kindBinary
)

// Put returns the secret with its value sealed.
func (h *sealer) Put(s *secretcache.Secret) (*secretcache.Secret, error) {
	kind := kindText
	if s.IsBinary() {
		kind = kindBinary
	}
	plain := s.Bytes()
	defer clear(plain)
	return s.WithBinary(h.aead.Seal([]byte{kind}, nil, plain, sealedFor(s, kind))), nil
}

var errSealed = errors.New("a value in the cache was not sealed by this process for this secret and version")

// Get returns the secret with its value opened.
func (h *sealer) Get(s *secretcache.Secret) (*secretcache.Secret, error) {
	box := s.Bytes()
	if len(box) == 0 {
		return nil, errSealed
	}
	kind := box[0]
	plain, err := h.aead.Open(nil, nil, box[1:], sealedFor(s, kind))
	if err != nil {
		return nil, errSealed
	}
	defer clear(plain)
	if kind == kindBinary {
		return s.WithBinary(plain), nil
	}
	return s.WithString(string(plain)), nil
}

// sealedFor returns the data that is authenticated with a value: kind, id and version. The length
// of the id shows where the version starts.
func sealedFor(s *secretcache.Secret, kind byte) []byte {
	b := append(make([]byte, 0, 128), kind)
	b = binary.AppendUvarint(b, uint64(len(s.ID())))
	b = append(b, s.ID()...)
	return append(b, s.VersionID()...)
}
