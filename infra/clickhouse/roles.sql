-- Who may do what in ClickHouse. Run it once as an administrator, after `andon migrate` has made the database; running
-- it again does nothing. It makes roles and no users: passwords and certificates are the server's business.
--
--   CREATE USER andon_writer IDENTIFIED WITH sha256_hash BY '…' DEFAULT ROLE andon_write;   GRANT andon_write TO andon_writer;
--
-- `andon run` and `andon deliver`: they read and add rows. They can change or drop nothing.
CREATE ROLE IF NOT EXISTS andon_write;
GRANT SELECT, INSERT ON andon.* TO andon_write;

-- `andon migrate`: it changes what tables look like, not what is in them.
CREATE ROLE IF NOT EXISTS andon_migrate;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, SELECT ON andon.* TO andon_migrate;
GRANT ALTER COLUMN, ALTER INDEX, ALTER TTL, ALTER SETTINGS, ALTER MODIFY COMMENT ON andon.* TO andon_migrate;
GRANT INSERT ON andon.schema_migrations TO andon_migrate;

-- People and dashboards: they read, within bounds, all but the raw bytes of dead letters, in which anything may be.
CREATE ROLE IF NOT EXISTS andon_analyse SETTINGS readonly = 2, max_execution_time = 60, max_memory_usage = 4000000000;
GRANT SELECT ON andon.* TO andon_analyse;
REVOKE SELECT ON andon.dead_letter_log FROM andon_analyse;

-- Those who mend what could not be read: `andon dlq list`.
CREATE ROLE IF NOT EXISTS andon_mend SETTINGS readonly = 2;
GRANT SELECT ON andon.* TO andon_mend;
