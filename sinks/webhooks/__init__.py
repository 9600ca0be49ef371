"""Alerts out to incident tooling over HTTP: a durable outbox, a worker an endpoint, one file a receiver."""
