"""What a long operation tells about itself; this one keeps it to itself.

The terminal's forms are in the command line's package and have the same methods.
"""


class Silent:
    """Takes every report and shows none; safe to be called from several threads."""

    def start(self, key, label, total=None):
        """Work on ``key`` begins: ``label`` names it, ``total`` is its size in bytes."""

    def advance(self, key, count):
        """``count`` more bytes of ``key`` are done."""

    def done(self, key, text=""):
        """``key`` is finished; ``text`` says how ("already exists")."""

    def message(self, text):
        """One line for the user."""
