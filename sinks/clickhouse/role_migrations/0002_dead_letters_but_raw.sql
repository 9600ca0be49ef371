-- Who looks sees what could not be used, from whom and why: all of a dead letter but its raw bytes. The view reads the
-- table with the rights of who asks, and only the columns that are asked for.
GRANT SELECT(topic, `partition`, `offset`, reason, path, detail, source, channel, seen_at, run_id, written_at) ON {database}.dead_letter_log TO {database}_analyse;
