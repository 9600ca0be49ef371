"""Hazards that can be injected: unusual, but nothing is broken. One file for what they have in common."""
