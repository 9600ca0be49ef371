"""Kafka as the source: what is there, where to begin, and lanes that read it."""
