"""The contract: events, signals, rows, errors, dead letters, adapters. Imports nothing of ours."""
