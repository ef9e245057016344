CREATE TABLE IF NOT EXISTS sqlc_orders (
    id   bigserial PRIMARY KEY,
    item text NOT NULL
);
