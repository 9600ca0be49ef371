"""Breakdowns that can be injected: one file a kind, listed in `registry`."""
