"""The base of every error that rl reports to a person.

A subclass stands beside the code that raises it.  Its docstring is the message: a
``str.format`` template over the arguments of the exception.  ``exit_code`` is what the
``rl`` process ends with (125: the engine failed, as podman and docker have it), ``hint``
is a template for the second line, which says what to type next.
"""


class RlError(Exception):
    """{0}"""

    exit_code = 125
    hint = None

    def __init__(self, *args, hint=None, **fields):
        super().__init__(*args)
        self.fields = fields
        if hint is not None:
            self.hint = hint

    def _fill(self, template):
        return template.format(*self.args, **self.fields)

    @property
    def message(self):
        """The one line that names what went wrong, as ``str``."""
        return self._fill(" ".join(type(self).__doc__.split()))

    @property
    def advice(self):
        """What to do about it, as ``str``; None where nothing useful can be said."""
        return self._fill(self.hint) if self.hint else None

    def __str__(self):
        return self.message
