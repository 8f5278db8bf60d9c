"""One container, from an OCI runtime specification to a running process."""
