// Command eventbridge takes "this secret has a new value" events of Amazon EventBridge
// and has the cache fetch the secret at its next use, instead of when its TTL is over or
// the database rejects the old password.
//
//	go -C examples run ./eventbridge                  a demonstration, in one process
//	go -C examples run ./eventbridge -stdin < event.json    which secrets an event is about
//	EVENTS_TOKEN=… go -C examples run ./eventbridge -listen :8080
//
// The last is what a service does: it mounts the handler beside its own, for the
// process's default cache, which all databases that it opens by the name of a secret
// share:
//
//	cache, err := engines.Cache(driver.Location{})
//	http.Handle("/secret-events", &handler{token: token, caches: []cache{cache}, log: slog.Default()})
//
// Pooled connections that were opened with the old value stay open, unless the data
// source name has closeSuperseded=true: then they end one after the other once the
// new one has been accepted.
//
// # The rule
//
// Secrets Manager sends an event itself when a label moves to another version; that
// needs no CloudTrail (rule.json):
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
// Where those are not there yet, a trail delivers the calls of the API and the end of a
// rotation (rule-cloudtrail.json). Both at once do no harm.
//
//	aws events put-rule --name secret-changed --event-pattern file://rule.json
//
// # The target
//
// An event has to come to every process that has a cache. An API destination with an
// API key connection (header X-Api-Key) is enough where one process is behind its
// address; behind a load balancer one of them gets it. Many processes get it by an SNS
// topic with a queue each, or by whatever you have for broadcasts; deliver takes a
// message of SQS, a notification of SNS in it, and a Lambda function's event of either.
// In AWS Lambda itself there is no way to reach all instances: leave it to the TTL.
//
// Events are an improvement, not a need: they are delivered at least once, in any
// order, and late or never when something is down. Without them a secret is fetched
// again at its TTL and when a login with it is rejected. And they are for the region
// that they come from: in another one the replica may not have the new value yet when
// the event is there.
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
	listen := flag.String("listen", "", "take events at this `address`, for the process's default cache; empty: a demonstration")
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

// read prints the ids of the secrets that changed by each event of in.
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
			return fmt.Errorf("an event of the standard input: %w", err)
		}
		fmt.Fprintf(out, "changed: %q\n", ids)
	}
}

func listenAndServe(ctx context.Context, address string) error {
	token := os.Getenv("EVENTS_TOKEN")
	if token == "" {
		return errors.New("EVENTS_TOKEN is not set; it is the key of EventBridge's connection")
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

// serve serves events until ctx ends. TLS, which EventBridge requires, is the load
// balancer's in front of it.
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

// A summary is what the demonstration saw.
type summary struct {
	first, stale, fresh                 string // versions that Get returned
	callsBefore, callsStale, callsFresh int    // of GetSecretValue until then
}

// demonstrate shows it with a Secrets Manager in this process, whose events it
// delivers itself.
func demonstrate(ctx context.Context, out io.Writer) (*summary, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	manager := awssmtest.NewServer(nil)
	defer manager.Close()
	manager.Put(secretID, `{"username":"app","password":"one"}`)

	// What your service does.
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
	fmt.Fprintf(out, "1000 Gets: version %s, %d call of GetSecretValue so far\n", s.first, s.callsBefore)

	// What a rotation does.
	rotated := manager.Put(secretID, `{"username":"app","password":"two"}`)
	fmt.Fprintf(out, "rotated: version %s is AWSCURRENT\n", rotated)
	if s.stale, s.callsStale, err = get(); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "1000 Gets: version %s, %d call; so it would be until its TTL is over\n", s.stale, s.callsStale)

	// What EventBridge does.
	if err := post(ctx, "http://"+l.Addr().String()+"/secret-events", token, labelUpdated(manager.ARN(secretID), rotated)); err != nil {
		return nil, err
	}
	if s.fresh, s.callsFresh, err = get(); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "1000 Gets: version %s, %d calls\n", s.fresh, s.callsFresh)
	stop()
	return &s, <-served
}

// labelUpdated returns the event that AWSCURRENT moved.
func labelUpdated(arn, version string) []byte {
	b, err := json.Marshal(map[string]any{
		"version": "0", "id": "6f1d8a52-0c3b-4f0e-9d7a-2b1c3d4e5f60", "detail-type": labelMoved, "source": source,
		"account": awssmtest.Account, "time": time.Now().UTC().Format(time.RFC3339), "region": awssmtest.Region,
		"resources": []string{arn},
		"detail":    map[string]string{"name": secretID, "labelUpdated": "AWSCURRENT", "versionId": version},
	})
	if err != nil {
		panic(err) // a map of texts
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
		return fmt.Errorf("the event was not taken: %s", res.Status)
	}
	return nil
}
