// Command eventbridge receives events of Amazon EventBridge that say that a secret has a new value.
// After such an event, the cache fetches the secret at its next use. Without events, the cache
// fetches it when its TTL has passed, or when the database rejects the old password.
//
//	go -C examples run ./eventbridge                        # a demonstration in one process
//	go -C examples run ./eventbridge -stdin < event.json    # prints which secrets an event is about
//	EVENTS_TOKEN=… go -C examples run ./eventbridge -listen :8080
//
// The third form does what a service does. A service mounts the handler beside its own handlers,
// for the process's default cache. All databases that the process opens by the name of a secret
// share that cache:
//
//	cache, err := engines.Cache(driver.Location{})
//	http.Handle("/secret-events", &handler{token: token, caches: []cache{cache}, log: slog.Default()})
//
// Pooled connections that were opened with the old value stay open. With closeSuperseded=true in
// the data source name, they close one after the other, once the database has accepted the new
// value.
//
// # The rule
//
// Secrets Manager itself sends an event when a label moves to another version. That needs no
// CloudTrail (rule.json):
//
//	{
//	  "source": ["aws.secretsmanager"],
//	  "detail-type": ["Secret Label Updated"],
//	  "detail": {
//	    "name": [{"prefix": "prod/"}],
//	    "labelUpdated": ["AWSCURRENT"]
//	  }
//	}
//
// Where these events are not available yet, use a trail. It delivers the calls of the API and the
// end of a rotation (rule-cloudtrail.json). Both rules together do no harm.
//
//	aws events put-rule --name secret-changed --event-pattern file://rule.json
//
// # The target
//
// Each process that has a cache needs the event. An API destination with an API key connection
// (header X-Api-Key) is enough if there is one process behind the address. Behind a load balancer,
// only one of the processes gets the event. For many processes, use an SNS topic with one queue for
// each process, or another broadcast that you have. The method deliver accepts a message of SQS, a
// notification of SNS inside it, and the event that a Lambda function gets from either. In AWS
// Lambda, no event can reach all instances: rely on the TTL there.
//
// Events make rotations smoother, but the library does not need them. EventBridge delivers an event
// at least once, in any order, and late or never when something is down. Without events, the cache
// fetches a secret when its TTL has passed, and when a login is rejected. Events are for the region
// that they come from: in another region, the replica may not have the new value yet when the event
// arrives.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

func main() {
	listen := flag.String("listen", "", "receive events at this `address`, for the process's default cache; without it, run the demonstration")
	stdin := flag.Bool("stdin", false, "read events from the standard input and print which secrets changed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *stdin:
		err = read(os.Stdin, os.Stdout)
	case *listen != "":
		err = listenAndServe(ctx, *listen)
	default:
		_, err = demonstrate(ctx, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "eventbridge:", err)
		os.Exit(1)
	}
}

// read reads events from in. For each, it prints the ids of the secrets that changed.
func read(in io.Reader, out io.Writer) error {
	for d := json.NewDecoder(in); ; {
		var event json.RawMessage
		switch err := d.Decode(&event); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errors.New("standard input is not a series of JSON objects")
		}
		ids, err := changed(event)
		if err != nil {
			return fmt.Errorf("an event of the standard input is %w", err)
		}
		fmt.Fprintf(out, "changed: %q\n", ids)
	}
}

func listenAndServe(ctx context.Context, address string) error {
	token := os.Getenv("EVENTS_TOKEN")
	if token == "" {
		return errors.New("EVENTS_TOKEN is not set; set it to the key of EventBridge's connection")
	}
	cache, err := engines.Cache(driver.Location{})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return serve(ctx, l, newHandler(token, slog.Default(), cache))
}

func newHandler(token string, log *slog.Logger, caches ...cache) *handler {
	return &handler{token: token, caches: caches, log: log}
}

// serve serves events until ctx ends. EventBridge requires TLS, which the load balancer in front of
// the program provides.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("/secret-events", h)
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

const secretID = "prod/app/db"

// A summary is what the demonstration saw: before the rotation, after it, and after the event.
type summary struct {
	first, stale, fresh                 string // the version that Get returned
	callsBefore, callsStale, callsFresh int    // the calls of GetSecretValue so far
}

// demonstrate runs a Secrets Manager in this process, rotates a secret, and delivers the event
// itself.
func demonstrate(ctx context.Context, out io.Writer) (*summary, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	manager := awssmtest.NewServer(nil)
	defer manager.Close()
	manager.Put(secretID, `{"username":"app","password":"one"}`)

	// Part 1: what your service does.
	cache := secretcache.New(manager.Source(), nil)
	defer cache.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	token := rand.Text()
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, newHandler(token, slog.New(slog.NewTextHandler(out, nil)), cache)) }()
	var s summary
	get := func() (version string, calls int, err error) {
		for range 1000 {
			secret, err := cache.Get(ctx, secretID, "")
			if err != nil {
				return "", 0, err
			}
			version = secret.VersionID()
		}
		return version, manager.Calls("GetSecretValue"), nil
	}
	if s.first, s.callsBefore, err = get(); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "The program reads the secret 1000 times: version %s. Calls of Secrets Manager so far: %d\n", s.first, s.callsBefore)

	// Part 2: what a rotation does.
	rotated := manager.Put(secretID, `{"username":"app","password":"two"}`)
	fmt.Fprintf(out, "A rotation makes version %s the current one.\n", rotated)
	if s.stale, s.callsStale, err = get(); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "The program reads it 1000 times: still version %s, until the TTL has passed. Calls so far: %d\n", s.stale, s.callsStale)

	// Part 3: what EventBridge does.
	if err := post(ctx, "http://"+l.Addr().String()+"/secret-events", token, labelUpdated(manager.ARN(secretID), rotated)); err != nil {
		return nil, err
	}
	if s.fresh, s.callsFresh, err = get(); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "After the event, the program reads it 1000 times: version %s. Calls so far: %d\n", s.fresh, s.callsFresh)
	stop()
	return &s, <-served
}

// labelUpdated returns the event that Secrets Manager sends when AWSCURRENT moves.
func labelUpdated(arn, version string) []byte {
	b, err := json.Marshal(map[string]any{
		"version": "0", "id": "6f1d8a52-0c3b-4f0e-9d7a-2b1c3d4e5f60", "detail-type": labelMoved, "source": source,
		"account": awssmtest.Account, "time": time.Now().UTC().Format(time.RFC3339), "region": awssmtest.Region,
		"resources": []string{arn},
		"detail":    map[string]string{"name": secretID, "labelUpdated": "AWSCURRENT", "versionId": version},
	})
	if err != nil {
		panic(err) // cannot happen: a map of strings
	}
	return b
}

func post(ctx context.Context, url, token string, event []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(tokenHeader, token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the event was not accepted: %s", res.Status)
	}
	return nil
}
