-- Who may do what in the database. An administrator applies it: `andon migrate --roles`. It makes roles and no users:
-- passwords and certificates are the server's business. Roles are named after the database, since a server may hold
-- several; with database `andon`:
--
--   CREATE USER andon_writer IDENTIFIED WITH sha256_hash BY '…' DEFAULT ROLE andon_write;   GRANT andon_write TO andon_writer;
--
-- `andon run` and `andon deliver`: they read and add rows. They can change or drop nothing, nor what is said to be
-- applied.
CREATE ROLE IF NOT EXISTS {database}_write;
GRANT SELECT, INSERT ON {database}.* TO {database}_write;
REVOKE INSERT ON {database}.schema_migrations FROM {database}_write;
REVOKE INSERT ON {database}.role_migrations FROM {database}_write;

-- `andon migrate`: it changes what tables look like, not what is in them.
CREATE ROLE IF NOT EXISTS {database}_migrate;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, SELECT ON {database}.* TO {database}_migrate;
GRANT ALTER COLUMN, ALTER INDEX, ALTER TTL, ALTER SETTINGS, ALTER MODIFY COMMENT ON {database}.* TO {database}_migrate;
GRANT INSERT ON {database}.schema_migrations TO {database}_migrate;

-- People and dashboards: they read, within bounds, all but the raw bytes of dead letters, in which anything may be.
CREATE ROLE IF NOT EXISTS {database}_analyse SETTINGS readonly = 2, max_execution_time = 60, max_memory_usage = 4000000000;
GRANT SELECT ON {database}.* TO {database}_analyse;
REVOKE SELECT ON {database}.dead_letter_log FROM {database}_analyse;

-- Those who mend what could not be read: `andon dlq list`.
CREATE ROLE IF NOT EXISTS {database}_mend SETTINGS readonly = 2;
GRANT SELECT ON {database}.* TO {database}_mend;
