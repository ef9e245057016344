package file

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync"
)

// versionKey is the random key of this process for the hashes that are version ids. Without
// a key, a weak password could be guessed from its hash.
var versionKey = sync.OnceValue(func() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return key
})

// version returns the version id of a value.
func version(id string, value []byte) string {
	h := hmac.New(sha256.New, versionKey())
	fmt.Fprintf(h, "%d %s", len(id), id) // the length says where the value begins
	h.Write(value)
	return "~" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
