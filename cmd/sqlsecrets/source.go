package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// identityTimeout bounds the call of AWS STS, because its answer is not needed to connect.
const identityTimeout = 2 * time.Second

// findSource finds the source and its cache. It also starts the requests for the secret and the
// identity.
func (c *check) findSource(ctx context.Context) (string, error) {
	loc := c.plan.Location
	source := engines.SourceOf(loc)
	from := "default"
	switch {
	case loc.Source != "":
		from = string(driver.FromDSN)
	case os.Getenv(engines.EnvSource) != "":
		from = engines.EnvSource
	}
	var err error
	if c.cache, err = engines.Cache(loc); err != nil {
		return "", err
	}
	c.ask(ctx)
	text := source + " (" + from + ")"
	for _, p := range []struct{ name, value string }{
		{"endpoint", loc.Endpoint}, {"profile", loc.Profile}, {"role", loc.RoleARN},
	} {
		if p.value != "" {
			text += ", " + p.name + " " + p.value
		}
	}
	for _, name := range []string{"AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"} {
		if loc.Endpoint == "" && os.Getenv(name) != "" && strings.Contains(source, engines.SourceAWS) {
			return text + ", endpoint of " + name, nil
		}
	}
	return text, nil
}

// ask starts two requests: one reads the secret into the cache that the connector uses, the other
// asks AWS STS for the identity.
func (c *check) ask(ctx context.Context) {
	c.fetch = inBackground(func() (*secretcache.Secret, error) { return c.cache.Get(ctx, c.id, c.plan.Stage) })
	c.identity = inBackground(func() (awssm.Identity, error) {
		ctx, cancel := context.WithTimeout(ctx, identityTimeout)
		defer cancel()
		return engines.Identity(ctx, c.plan.Location, c.id)
	})
}

// inBackground starts f in a goroutine. The func that it returns waits for f and returns its results.
func inBackground[T any](f func() (T, error)) func() (T, error) {
	var value T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		value, err = f()
	}()
	return func() (T, error) {
		<-done
		return value, err
	}
}

func (c *check) readSecret(context.Context) (string, error) {
	s, err := c.fetch()
	if err != nil {
		return "", err
	}
	c.secret = s
	stages := "no stages"
	if len(s.Stages()) > 0 {
		stages = strings.Join(s.Stages(), ", ")
	}
	text := fmt.Sprintf("version %s (%s)", s.VersionID(), stages)
	if !s.CreatedAt().IsZero() {
		text += ", " + age(s.CreatedAt()) + " old"
	}
	var keys map[string]any
	if json.Unmarshal(s.Bytes(), &keys) == nil {
		text += ", keys " + strings.Join(slices.Sorted(maps.Keys(keys)), ", ")
	}
	return text, nil
}

// age returns how long ago a time was, in seconds, hours or days. A time in the future gives "0s".
func age(t time.Time) string {
	switch d := time.Since(t); {
	case d < 0:
		return "0s"
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

func (c *check) showRegion(context.Context) (string, error) {
	who, err := c.identity()
	if errors.Is(err, engines.ErrNotAWS) {
		return "not used by this source", errUnknown
	}
	if c.region = who.Region; c.region == "" {
		return "unknown: " + err.Error(), errUnknown
	}
	asked, others := awsregion.Split(c.plan.Location.Region)
	from := "the shared config file or the instance"
	switch {
	case asked != "":
		from = string(driver.FromDSN)
	case secretid.Region(c.id) != "":
		from = "the ARN"
	default:
		for _, name := range []string{awssm.RegionEnv, "AWS_REGION", "AWS_DEFAULT_REGION"} {
			if os.Getenv(name) != "" {
				from = name
				break
			}
		}
	}
	text := who.Region + " (" + from + ")"
	if len(others) > 0 {
		text += ", then " + strings.Join(others, ", ")
	}
	return text, nil
}

func (c *check) showIdentity(context.Context) (string, error) {
	who, err := c.identity()
	text := "credentials from " + who.Credentials
	switch {
	case errors.Is(err, engines.ErrNotAWS):
		return "not used by this source", errUnknown
	case err == nil:
		return who.ARN + ", " + text, nil
	case who.Credentials == "":
		return "unknown: " + err.Error(), errUnknown
	}
	return text + "; AWS STS did not return the ARN, but it is not needed to connect: " + err.Error(), errUnknown
}

// where returns the region where the secret was asked for, or the source if it has no region.
func (c *check) where() string {
	if c.region == "" {
		return engines.SourceOf(c.plan.Location)
	}
	return c.region
}

func (c *check) asksAgent() bool {
	source := engines.SourceOf(c.plan.Location)
	return strings.Contains(source, engines.SourceAgent) || strings.Contains(source, engines.SourceExtension)
}
