"""Where what was found goes: ClickHouse."""
