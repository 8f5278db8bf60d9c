"""``rl build``: from Containerfile to images; what it is made of is in rootless.build."""
