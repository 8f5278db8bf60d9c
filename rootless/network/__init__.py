"""Networks of containers: helpers that carry packets, and the files that name hosts."""
