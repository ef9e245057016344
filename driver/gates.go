package driver

import (
	"reflect"
	"runtime"
	"sync"
	"weak"
)

// A gateKey is what connectors have in common that share a gate: they send the same credentials
// for the same version of a secret, and the server's answer to one of them holds for all.
type gateKey struct {
	// secrets is a pointer as a number. With the pointer, the key would keep Secrets alive, and all
	// that they lead to, such as the connector. No other Secrets can have the number while the gate
	// lives, which keeps them.
	secrets   uintptr
	kind      reflect.Type
	id, stage string
	host      string // of the data source name; or empty
	port      int    // likewise; or 0
	fields    fields
	plaintext bool // the data source name turns TLS off, for which a server may reject a login
	maxLogins int
}

// gates are the gates of this process, as long as a connector uses them. A server counts the
// rejected logins of an account, whichever connector has sent them.
var gates = struct {
	sync.Mutex
	byKey map[gateKey]weak.Pointer[gate]
}{byKey: map[gateKey]weak.Pointer[gate]{}}

// gateFor returns the gate of secrets and a key. Secrets that are no pointer have one for each
// connector.
func gateFor(secrets Secrets, k gateKey) *gate {
	made := newGate(k.maxLogins)
	v := reflect.ValueOf(secrets)
	if v.Kind() != reflect.Pointer {
		return made
	}
	made.secrets, k.secrets, k.kind = secrets, v.Pointer(), v.Type()
	gates.Lock()
	defer gates.Unlock()
	if g := gates.byKey[k].Value(); g != nil {
		return g
	}
	pointer := weak.Make(made)
	gates.byKey[k] = pointer
	runtime.AddCleanup(made, func(k gateKey) {
		gates.Lock()
		defer gates.Unlock()
		if gates.byKey[k] == pointer {
			delete(gates.byKey, k)
		}
	}, k)
	return made
}
