"""Adapters: foreign records into canonical events.

`mapping` reads the declarative mapping files (docs/mappings.md), `tabular` applies one to a table.
"""
