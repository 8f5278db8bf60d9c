"""RUN: what a step is given, and what of its traces is no part of its result."""
