"""What findings about scopes come to: incidents, with probable cause, orders and money at risk."""
