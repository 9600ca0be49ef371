"""The domain, pure: no engine, no store, no clock, no I/O, no logging."""
