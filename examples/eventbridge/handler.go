package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"log/slog"
	"net/http"
)

// tokenHeader is the header in which EventBridge sends the key of a connection. The connection's
// settings name it.
const tokenHeader = "X-Api-Key"

// maxBody is more than the largest message: an event is at most 1 MB, including what is around it.
const maxBody = 2 << 20

// A cache is the part of [*secretcache.Cache] that the handler uses. After Invalidate, the cache
// fetches the secret at its next use.
type cache interface{ Invalidate(id string) }

// A handler receives the events that EventBridge delivers to an API destination.
type handler struct {
	token  string // each request must have it in tokenHeader
	caches []cache
	log    *slog.Logger
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	// Without this check, anybody could make the program call Secrets Manager again and again. The
	// digests have the same length, so the time of the comparison says nothing about the token.
	got, want := sha256.Sum256([]byte(r.Header.Get(tokenHeader))), sha256.Sum256([]byte(h.token))
	if h.token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		http.Error(w, "the header "+tokenHeader+" does not have the token", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too large or incomplete", http.StatusRequestEntityTooLarge)
		return
	}
	if err := h.deliver(body); err != nil {
		http.Error(w, "the body is "+err.Error(), http.StatusBadRequest)
		return
	}
	// Events about other things get this status, too. With an error, EventBridge would deliver them
	// again.
	w.WriteHeader(http.StatusNoContent)
}

// deliver invalidates the secrets that changed. A Lambda function or a loop that receives from a
// queue calls it with each message.
func (h *handler) deliver(body []byte) error {
	ids, err := changed(body)
	if err != nil {
		return err
	}
	for _, id := range ids {
		for _, c := range h.caches {
			c.Invalidate(id)
		}
		h.log.Info("secret changed", "secret", id)
	}
	return nil
}
