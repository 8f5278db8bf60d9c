"""Images: registries, archives, and images made from programs of this machine."""
