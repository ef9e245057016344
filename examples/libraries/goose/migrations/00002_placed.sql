-- +goose Up
ALTER TABLE goose_orders ADD COLUMN placed timestamptz NOT NULL DEFAULT now();

-- +goose Down
ALTER TABLE goose_orders DROP COLUMN placed;
