"""A simulated retailer whose breakdowns are known, to show and to measure what is found."""
