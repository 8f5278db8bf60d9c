"""RUN --mount: what each shows, as steps of the set-up."""


class Mounts:
    """Those of one step: ``entries`` for the specification, ``environ``, ``place(plan)``."""

    def __init__(self, step):
        self.entries = []
        self.environ = []

    def place(self, steps):
        return steps
