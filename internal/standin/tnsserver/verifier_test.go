package tnsserver

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// Both halves of an answer are checked. A client that has only the hash of a password, or only the
// password, is rejected.
func TestBothHalvesOfAnAnswerAreChecked(t *testing.T) {
	v := newVerifier("right")
	ch := newChallenge(v)
	encrypt := func(key, plain []byte, pad bool) string {
		plain = append(make([]byte, 16), plain...)
		if n := 16 - len(plain)%16; pad {
			plain = append(plain, bytes.Repeat([]byte{byte(n)}, n)...)
		}
		return hex.EncodeToString(crypt(key, plain, true))
	}
	// answerOf returns what a client sends that has the hash of one password, derives the proof from
	// another, and sends a third.
	answerOf := func(hashed, derived, typed string) answer {
		hash := v.hashOf(v.speedyKey(hashed))
		client := bytes.Repeat([]byte{7}, 32)
		server, _ := hex.DecodeString(ch.pairs()[0].value)
		server = crypt(hash[:32], server, false)
		key := derive(upperHex(append(bytes.Clone(client), server...)), ch.mixSalt[:], keyIterations, 32)
		return answer{
			sessionKey: hex.EncodeToString(crypt(hash[:32], client, true)),
			password:   encrypt(key, []byte(typed), true),
			speedyKey:  encrypt(key, v.speedyKey(derived), false),
		}
	}
	for _, c := range []struct {
		name                   string
		hashed, derived, typed string
		want                   bool
	}{
		{"right", "right", "right", "right", true},
		{"wrong", "wrong", "wrong", "wrong", false},
		{"hash of the right one", "right", "wrong", "wrong", false},
		{"wrong password", "right", "right", "wrong", false},
		{"empty password", "right", "right", "", false},
		{"wrong derived key", "right", "wrong", "right", false},
	} {
		if got := ch.check(answerOf(c.hashed, c.derived, c.typed)); got != c.want {
			t.Errorf("%s: check = %t, want %t", c.name, got, c.want)
		}
	}
	good := answerOf("right", "right", "right")
	for _, a := range []answer{
		{}, {good.sessionKey, "", ""}, {good.sessionKey, good.password, ""}, {good.sessionKey, "", good.speedyKey},
		{good.sessionKey[2:], good.password, good.speedyKey}, {"zz", good.password, good.speedyKey},
		{good.sessionKey, good.password[2:], good.speedyKey}, {good.sessionKey, good.password, good.speedyKey[:64]},
	} {
		if ch.check(a) {
			t.Errorf("an answer with a key of %d, a password of %d and a derived key of %d digits is taken", len(a.sessionKey), len(a.password), len(a.speedyKey))
		}
	}
	if newChallenge(v).check(good) {
		t.Error("the answer to one challenge answers another")
	}
}
