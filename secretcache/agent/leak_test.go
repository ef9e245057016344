package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// canary is part of the value and of the token.
const canary = "CANARY-3f9a"

// No error, trace or printed form holds a value or the token, for any answer of a server.
func TestNothingLeaks(t *testing.T) {
	value := `{"password":"` + canary + `"}`
	quoted, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	secret := `{"ARN":"arn:x","Name":"a","SecretString":` + string(quoted) + `}`
	echo := func(status int, format string) agenttest.Fault {
		return func(w http.ResponseWriter, r *http.Request) bool {
			return agenttest.Answer(status, fmt.Sprintf(format, r.Header.Get(agent.DefaultHeader)))(w, r)
		}
	}
	faults := map[string]agenttest.Fault{
		"hangs":                     agenttest.Hang,
		"closes":                    agenttest.CloseConn,
		"redirects":                 agenttest.Redirect("http://elsewhere.test/" + canary),
		"cut off":                   agenttest.Answer(200, secret[:len(secret)-4]),
		"not JSON":                  agenttest.Answer(200, canary),
		"another type":              agenttest.Answer(200, `{"Name":"a","SecretString":["`+canary+`"]}`),
		"binary that is not base64": agenttest.Answer(200, `{"Name":"a","SecretBinary":"`+canary+`%"}`),
		"huge":                      agenttest.Answer(200, strings.Repeat(canary, 1<<17)),
		"in a text":                 agenttest.Answer(400, "unknown parameter: "+canary),
		"in the text of an error":   agenttest.Answer(403, "Bad Token "+canary),
		"in a text of its own":      agenttest.Answer(404, canary),
		"a secret with an error":    agenttest.Answer(500, secret),
		"no exception":              agenttest.Answer(400, `{"message":"`+canary+`"}`),
		"echoes in an exception":    echo(400, `{"__type":"X","message":"the token %s is wrong"}`),
		"echoes as an exception":    echo(403, `{"__type":"%s","message":"x"}`),
		"echoes without escaping":   echo(500, `{"__type":"X", "message":"the token "%s" is wrong"}`),
		"echoes at the cut":         echo(400, `{"__type":"X","message":"`+strings.Repeat("x", 585)+`%s"}`),
		"echoes where it is cut":    echo(400, `{"__type":"X","message":"`+strings.Repeat("x", 590)+` the token %s is wrong"}`),
		"echoes in a long name":     echo(400, `{"__type":"`+strings.Repeat("x", 588)+`%s","message":"x"}`),
		"echoes as too many roles":  echo(400, `{"__type":"MaxRolesExceeded","message":"%s"}`),
		"no HTTP": func(w http.ResponseWriter, _ *http.Request) bool {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = c.Write([]byte(canary + "\r\n\r\n"))
			_ = c.Close()
			return true
		},
		"an invalid header": func(w http.ResponseWriter, _ *http.Request) bool {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n"))
			_ = c.Close()
			return true
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				upstream := &store{version: "v1"}
				server := agenttest.NewServer(t, upstream, inMemory, func(o *agenttest.Options) { o.Token = canary + "-token" })
				server.Fail(fault)
				src := server.Source()
				check := func(what string, v any) {
					t.Helper()
					if path := leak.Find(v, canary); path != "" {
						t.Errorf("the tree of %s holds it at %s", what, path)
					}
					for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
						if text := fmt.Sprintf(verb, v); strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
							t.Errorf("%s of %s: %s", verb, what, text)
						}
					}
				}
				c := secretcache.New(src, &secretcache.Options{Trace: &secretcache.Trace{FetchDone: func(_ context.Context, i secretcache.FetchInfo) {
					check("the trace", i)
					check("the trace's error", i.Err)
				}}})
				defer c.Close()
				if s, err := c.Get(t.Context(), "a", ""); err == nil {
					t.Errorf("got %v, want an error", s)
				} else {
					check("the error of Get", err)
				}
				_, err := src.FetchFresh(within(t, 10*time.Second), "a", "")
				if err == nil {
					t.Error("FetchFresh: no error")
				}
				check("the error of FetchFresh", err)
				synctest.Wait() // until the transport has ended the request
				check("the source", src)
				check("the server", fmt.Sprint(server))
			})
		})
	}
}

// A developer may print the options while debugging.
func TestOptionsShowNoToken(t *testing.T) {
	o := agent.Options{Token: func() (string, error) { return canary, nil }}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, o); strings.Contains(text, canary) {
			t.Errorf("%s: %s", verb, text)
		}
	}
}
