"""Thin wrappers over Linux system calls: os and ctype.py only, no idea of a container."""
