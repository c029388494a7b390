"""The engine, on an in-memory API server and backends that do as a test says."""
