"""Detectors: what finds a kind of breakdown. Each is a file; catalogue.py lists them all.

A detector has up to two parts. The first sees the events of its key group one by one (events.py), says what it finds of
a single case, and counts: so many orders of this channel, so many of them incomplete. The second sees these counts by
scope, a minute at a time (scopes.py), and says when something is broken there.
"""
