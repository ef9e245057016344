CREATE TABLE migrate_orders (id bigserial PRIMARY KEY, item text NOT NULL);
