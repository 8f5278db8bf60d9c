"""The distribution API: HTTP, authentication, and a client for one registry."""
