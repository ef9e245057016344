ALTER TABLE migrate_orders ADD COLUMN placed timestamptz NOT NULL DEFAULT now();
