package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

type service struct {
	db        *sql.DB
	connector *driver.Connector
	log       *slog.Logger
	stopping  atomic.Bool
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{item}", s.order)
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /ready", s.ready)
	return mux
}

// order stores an order.
func (s *service) order(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, "INSERT INTO service_orders (item) VALUES ($1)", r.PathValue("item")); err != nil {
		s.log.ErrorContext(ctx, "an order was not stored", "error", err)
		http.Error(w, "the order was not stored", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// health is for people and alerts. Of the secret's values, it shows only the address.
func (s *service) health(w http.ResponseWriter, r *http.Request) {
	healthy := s.ping(r.Context())
	status, pool := s.connector.Status(), s.db.Stats()
	page := map[string]any{
		"healthy":     healthy,
		"secret":      status.SecretID,
		"version":     status.Version,
		"stage":       status.From,
		"created_at":  status.CreatedAt,
		"address":     status.Address,
		"accepted_at": status.Accepted,
		"rejected":    status.Rejected != nil,
		"open":        pool.OpenConnections,
		"in_use":      pool.InUse,
		"waited":      pool.WaitDuration.String(),
	}
	w.Header().Set("Content-Type", "application/json")
	if !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(page) // an error means that the client is gone
}

// ready is for the load balancer. Do not use it for a check that restarts the service, because a
// restart does not repair the database.
func (s *service) ready(w http.ResponseWriter, r *http.Request) {
	if s.stopping.Load() || !s.ping(r.Context()) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (s *service) ping(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := s.db.PingContext(ctx)
	if err != nil {
		s.log.ErrorContext(ctx, "the database does not answer", "error", err)
	}
	return err == nil
}
