"""The ClickHouse store: one code path for the embedded engine (chDB) and for a server (HTTP).

`dsn` reads where the database is, `store` talks to it, `migrate` brings its schema up to date, `rows` turns
records into columns and `native` those into blocks, `writer` brings them in, in threads of `sending`.
The driver is loaded when a store is opened, not when this is imported.
"""
