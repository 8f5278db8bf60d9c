"""The verbs of rl: each module here is what one command or a family of them does."""
