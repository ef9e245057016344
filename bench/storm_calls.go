package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	awscache "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// stormOurs connects with the library.
func stormOurs(ctx context.Context, m *model) (func(context.Context) error, error) {
	c, err := driver.NewConnector(m, "prod/app", &driver.Options{Secrets: secretcache.New(m, nil)})
	if err != nil {
		return nil, err
	}
	connect := func(ctx context.Context) error { return connectOnce(ctx, c) }
	return connect, connect(ctx)
}

// stormWaits waits as long as the library has to: all goroutines send the former version, one reads
// the secret and sends the next version, and then all others send it.
func stormWaits(_ context.Context, m *model) (func(context.Context) error, error) {
	former := m.current.Load().password
	var led atomic.Bool
	accepted := make(chan struct{})
	return func(ctx context.Context) error {
		if err := m.login(ctx, former); !errors.Is(err, errModelRejected) {
			return fmt.Errorf("the former version: %v", err)
		}
		if !led.CompareAndSwap(false, true) {
			<-accepted
			return m.login(ctx, m.current.Load().password)
		}
		v, err := m.call(ctx)
		if err == nil {
			err = m.login(ctx, v.password)
		}
		close(accepted)
		return err
	}, nil
}

// stormByHand logs in with the value of AWS's caching client, and again after its RefreshNow.
func stormByHand(ctx context.Context, m *model) (func(context.Context) error, error) {
	cache, err := awscache.New(func(c *awscache.Cache) { c.Client = modelClient{m: m} })
	if err != nil {
		return nil, err
	}
	login := func(ctx context.Context) error {
		value, err := cache.GetSecretStringWithContext(ctx, "prod/app")
		if err != nil {
			return err
		}
		var s struct{ Password string }
		if err := json.Unmarshal([]byte(value), &s); err != nil {
			return err
		}
		return m.login(ctx, s.Password)
	}
	return func(ctx context.Context) error {
		err := login(ctx)
		for try := 0; try < 3 && errors.Is(err, errModelRejected); try++ {
			cache.RefreshNowWithContext(ctx, "prod/app")
			err = login(ctx)
		}
		return err
	}, login(ctx)
}

// A modelClient is the API of a model for AWS's caching client.
type modelClient struct {
	awscache.SecretsManagerAPIClient // nil: it calls no other methods
	m                                *model
}

func (c modelClient) DescribeSecret(ctx context.Context, _ *secretsmanager.DescribeSecretInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error) {
	v, err := c.m.call(ctx)
	if err != nil {
		return nil, err
	}
	return &secretsmanager.DescribeSecretOutput{VersionIdsToStages: map[string][]string{v.id: {"AWSCURRENT"}}}, nil
}

func (c modelClient) GetSecretValue(ctx context.Context, _ *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	v, err := c.m.call(ctx)
	if err != nil {
		return nil, err
	}
	return &secretsmanager.GetSecretValueOutput{VersionId: &v.id, SecretString: &v.value, VersionStages: []string{"AWSCURRENT"}}, nil
}

// A peak finds the maximum of goroutines and memory, beyond those at its beginning.
type peak struct {
	baseGoroutines int
	baseMemory     int64
	goroutines     atomic.Int64
	memory         int64 // owned by the measuring goroutine until ended is closed
	stop, ended    chan struct{}
}

// newPeak begins to measure the memory once a millisecond.
func newPeak() *peak {
	p := &peak{stop: make(chan struct{}), ended: make(chan struct{})}
	runtime.GC()
	p.baseMemory, p.baseGoroutines = memoryInUse(), runtime.NumGoroutine()+1
	go func() {
		defer close(p.ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			p.memory = max(p.memory, memoryInUse()-p.baseMemory)
			p.goroutine()
			select {
			case <-tick.C:
			case <-p.stop:
				return
			}
		}
	}()
	return p
}

// goroutine measures the number of goroutines.
func (p *peak) goroutine() {
	n := int64(runtime.NumGoroutine() - p.baseGoroutines)
	for {
		most := p.goroutines.Load()
		if n <= most || p.goroutines.CompareAndSwap(most, n) {
			return
		}
	}
}

func (p *peak) end() (goroutines int, memory int64) {
	close(p.stop)
	<-p.ended
	return int(p.goroutines.Load()), p.memory
}

// memoryInUse returns the bytes of objects and of stacks.
func memoryInUse() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}

// absent returns n missing values.
func absent(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = math.NaN()
	}
	return values
}
