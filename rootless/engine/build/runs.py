"""RUN: what it depends on, and the step that does it."""
