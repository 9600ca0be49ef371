"""What is told to whom, when, and what is not: alerts about incidents, with Alertmanager's semantics."""
