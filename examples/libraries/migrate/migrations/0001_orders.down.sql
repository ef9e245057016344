DROP TABLE migrate_orders;
