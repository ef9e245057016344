ALTER TABLE migrate_orders DROP COLUMN placed;
