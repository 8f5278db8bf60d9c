"""Control groups of version 2: where a user may make them, and what is set and read there."""
