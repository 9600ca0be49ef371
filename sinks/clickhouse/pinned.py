"""The settings Andon's correctness or memory hangs on: each sent explicitly, never left to defaults.

Defaults moved between releases (`async_insert` and the deduplication of inserts in 26.2), and profiles change
them. A setting a server does not know yet is left out: an older server then has no other behaviour to choose.
"""

#: For every insert.
INSERT: dict[str, str | int] = {
    "async_insert": 0,  # a block is in the table when the insert returns; else a snapshot could outrun it
    "wait_for_async_insert": 1,  # where a server forces asynchronous inserts, the answer still means "in"
    "insert_deduplicate": 1,  # a block sent again under its token is dropped
    "deduplicate_insert": "enable",  # the same, under its name since 26.2
    "deduplicate_blocks_in_dependent_materialized_views": 1,  # a user's materialized views count it once, too
    "max_insert_threads": 1,  # the split of a block, and with it its tokens, is the same each time
    "input_format_parallel_parsing": 0,  # as max_insert_threads; and memory stays that of one block
    "min_insert_block_size_rows": 1_048_449,  # one insert is one part
    "min_insert_block_size_bytes": 268_402_944,  # as the rows; a block of the writer is smaller
    "input_format_native_allow_types_conversion": 1,  # texts go plain into columns of low cardinality
    "input_format_native_decode_types_in_binary_format": 0,  # types stand in a block as words
    "input_format_defaults_for_omitted_fields": 1,  # `written_at` is the table's own
    "optimize_on_insert": 1,  # versions of one key inside a block are merged before they are written
}

#: For every statement that reads.
READ: dict[str, str | int] = {
    "optimize_move_to_prewhere_if_final": 0,  # a filter on a value column must see the highest version only
    "apply_row_policy_after_final": 1,  # as above, for a server's row policies
    "use_skip_indexes_if_final_exact_mode": 1,  # as above, should someone add a skipping index
    "join_use_nulls": 0,  # what a join or a sum does not find is empty or 0: the report and the cookbook count on it
    "aggregate_functions_null_for_empty": 0,  # as above
    "prefer_column_name_to_alias": 0,  # as above: a name is first what the query itself calls so
    "session_timezone": "UTC",  # times without a zone in a query mean UTC on every server
}

#: What `andon sql` adds: it can't write, and can still be given settings of its own (max_threads …).
READ_ONLY: dict[str, str | int] = {"readonly": 2}
