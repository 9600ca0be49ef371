"""The canonical events: one module a topic, one frozen record a type (`schemas.events` has all of them)."""
