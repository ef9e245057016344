package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A sealer is a [secretcache.Hook] that keeps values encrypted with AES-256-GCM
// while they are in the cache.
//
// The key is made with the sealer and is in no other place; each value gets a random
// nonce of 96 bits, which is good for 2³² values with one key (NIST SP 800-38D, 8.3).
// What kind of value it is, the secret's id and its version are authenticated with
// it, so that a value opens as nothing else than what was sealed.
type sealer struct{ aead cipher.AEAD }

var _ secretcache.Hook = (*sealer)(nil)

func newSealer() (*sealer, error) {
	key := make([]byte, 32)
	defer clear(key) // what the cipher expands it to stays
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

// The kinds of a value, of which a sealed one has the first byte.
const (
	kindText byte = iota
	kindBinary
)

// Put seals a value.
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

// Get opens a value.
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

// sealedFor is what a value is sealed for. The id's length keeps it apart from the
// version.
func sealedFor(s *secretcache.Secret, kind byte) []byte {
	b := append(make([]byte, 0, 128), kind)
	b = binary.AppendUvarint(b, uint64(len(s.ID())))
	b = append(b, s.ID()...)
	return append(b, s.VersionID()...)
}
