"""Models over series of windows: what was expected, how surprising the value is, and which term says so."""
