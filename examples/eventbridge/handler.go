package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"log/slog"
	"net/http"
)

// tokenHeader is the header in which EventBridge sends the key of a connection; its
// name is set there.
const tokenHeader = "X-Api-Key"

// maxBody is more than an event has: 1 MB with what is around it.
const maxBody = 2 << 20

// A cache forgets that a secret is fresh; [*secretcache.Cache] is one.
type cache interface{ Invalidate(id string) }

// A handler takes what EventBridge delivers to an API destination.
type handler struct {
	token  string // that who delivers has to know
	caches []cache
	log    *slog.Logger
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	// Who can deliver can make us ask Secrets Manager as often as he likes. Digests have
	// one length, so that the time tells nothing of the token.
	got, want := sha256.Sum256([]byte(r.Header.Get(tokenHeader))), sha256.Sum256([]byte(h.token))
	if h.token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		http.Error(w, "header "+tokenHeader+" is not the token", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "body is too large, or broken", http.StatusRequestEntityTooLarge)
		return
	}
	if err := h.deliver(body); err != nil {
		http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
		return
	}
	// Also for what is not ours: EventBridge would deliver it again.
	w.WriteHeader(http.StatusNoContent)
}

// deliver invalidates what changed. A function of AWS Lambda or the loop that
// receives from a queue calls it with what it gets.
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
