"""Networks of one's own: bridges, leases and rules in one network namespace per user."""
