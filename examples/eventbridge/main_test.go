package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAnEventBringsTheNewVersionWithOneCall(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out strings.Builder
	s, err := demonstrate(ctx, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if s.callsBefore != 1 || s.callsStale != 1 || s.stale != s.first {
		t.Errorf("before the event: %d and %d calls, want 1 and 1; version %s and %s, want the same", s.callsBefore, s.callsStale, s.first, s.stale)
	}
	if s.fresh == s.first || s.callsFresh != 2 {
		t.Errorf("after the event: version %s after %d calls, want another version than %s after 2", s.fresh, s.callsFresh, s.first)
	}
	if strings.Contains(out.String(), `"one"`) || strings.Contains(out.String(), `"two"`) {
		t.Errorf("the output shows a password:\n%s", out.String())
	}
}

// noted is a cache that notes the ids that were invalidated.
type noted []string

func (n *noted) Invalidate(id string) { *n = append(*n, id) }

func TestHandler(t *testing.T) {
	event := sample(samples[0].event)
	for _, tt := range []struct {
		name, method, token, body string
		status                    int
		want                      []string // invalidated, in each cache
	}{
		{"event", "POST", "t0ken", event, 204, []string{sampleARN}},
		{"event about something else", "POST", "t0ken", `{"source":"aws.ec2"}`, 204, nil},
		{"no token", "POST", "", event, 401, nil},
		{"another token", "POST", "t0keN", event, 401, nil},
		{"not JSON", "POST", "t0ken", "canary", 400, nil},
		{"too large", "POST", "t0ken", `{"x":"` + strings.Repeat("a", maxBody) + `"}`, 413, nil},
		{"GET", "GET", "t0ken", "", 405, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a, b noted
			h := newHandler("t0ken", slog.New(slog.DiscardHandler), &a, &b)
			req := httptest.NewRequest(tt.method, "/secret-events", strings.NewReader(tt.body))
			if tt.token != "" {
				req.Header.Set("X-Api-Key", tt.token)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			if w.Code != tt.status || strings.Contains(w.Body.String(), "canary") {
				t.Errorf("status %d %q, want %d", w.Code, w.Body.String(), tt.status)
			}
			if !slices.Equal(a, tt.want) || !slices.Equal(b, tt.want) {
				t.Errorf("invalidated %q and %q, want %q", a, b, tt.want)
			}
		})
	}
	// A handler without a token accepts no request.
	w := httptest.NewRecorder()
	newHandler("", slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(event)))
	if w.Code != 401 {
		t.Errorf("a handler without a token answers %d, want 401", w.Code)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var c noted
	done := make(chan error)
	go func() { done <- serve(ctx, l, newHandler("t0ken", slog.New(slog.DiscardHandler), &c)) }()
	if err := post(ctx, "http://"+l.Addr().String()+"/secret-events", "t0ken", []byte(sample(samples[3].event))); err != nil {
		t.Error(err)
	}
	if err := post(ctx, "http://"+l.Addr().String()+"/secret-events", "wrong", nil); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("got %v, want status 401", err)
	}
	cancel()
	if err := <-done; err != nil || !slices.Equal(c, []string{sampleARN}) {
		t.Errorf("%v, invalidated %q", err, c)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestStandardInput(t *testing.T) {
	in := sample(samples[0].event) + "\n" + sample(samples[1].event) + ` {}`
	var out strings.Builder
	if err := read(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat(`changed: ["`+sampleARN+"\"]\n", 2) + "changed: []\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	for _, in := range []string{"canary", `{"a":`, `["canary"]`} {
		if err := read(strings.NewReader(in), io.Discard); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", in, err)
		}
	}
	var e map[string]any
	if err := json.Unmarshal(labelUpdated(sampleARN, "v"), &e); err != nil || e["detail-type"] != "Secret Label Updated" {
		t.Errorf("%v, %v", e, err)
	}
}
