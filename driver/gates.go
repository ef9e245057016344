package driver

import (
	"reflect"
	"runtime"
	"sync"
	"weak"
)

// Connectors with the same gateKey share a gate. They send the same credentials for the same version
// of a secret, so the server's answer to one of them is valid for all.
type gateKey struct {
	// secrets is the pointer to Secrets as a number. A pointer in the key would keep Secrets alive,
	// and everything that they refer to, such as the connector. The gate keeps Secrets alive, so no
	// other Secrets can have this number while the gate is in use.
	secrets   uintptr
	kind      reflect.Type
	id, stage string
	host      string // of the data source name, or empty
	port      int    // of the data source name, or 0
	fields    fields
	plaintext bool // the data source name turns TLS off; a server may reject a login for that
	maxLogins int
}

// gates has the gates of this process that a connector uses. Connectors share them because a server
// counts the rejected logins of an account, and does not know which connector sent them.
var gates = struct {
	sync.Mutex
	byKey map[gateKey]weak.Pointer[gate]
}{byKey: map[gateKey]weak.Pointer[gate]{}}

// gateFor returns the gate for secrets and a key. If secrets is not a pointer, each connector gets its
// own gate.
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
