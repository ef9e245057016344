-- name: CreateOrder :one
INSERT INTO sqlc_orders (item) VALUES ($1) RETURNING *;

-- name: CountOrders :one
SELECT count(*) FROM sqlc_orders WHERE item = $1;
