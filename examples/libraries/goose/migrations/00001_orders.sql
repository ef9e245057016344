-- +goose Up
CREATE TABLE goose_orders (id bigserial PRIMARY KEY, item text NOT NULL);

-- +goose Down
DROP TABLE goose_orders;
