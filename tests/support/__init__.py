"""What the tests share: running rl, terminals, images, a registry, a look for leaks."""
