"""The models over many series at once: what the plain path does for a point, in numpy for one of each, bit for bit."""
