"""Blobs, layers and copy-on-write drivers on disk."""
