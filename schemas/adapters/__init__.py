"""Adapters: foreign records into canonical events.

`mapping` reads the declarative mapping files (docs/mappings.md), `tabular` applies one to a table. `records` applies an
adapter of code (`shopify`, `saleor`, `epcis`; docs/adapters.md) to a file; `translations` knows both by their names.
"""
