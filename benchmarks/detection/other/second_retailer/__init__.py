"""A second retailer, written from the contract alone: nothing here knows how a finding is made."""
