"""What a build tells about itself; this one keeps it to itself.

The forms that are seen have the same methods and are in the command line's package.  All
are called from one thread only.  A *vertex* is one step of one stage: its ``key`` (str) is
unlike that of every other one of this build.
"""


class Silent:
    """Takes every report and shows none."""

    def begin(self, stages):
        """The build starts: ``stages``, a list of (title, number of steps) of those needed."""

    def step_started(self, key, name, line):
        """Work on a step begins.

        ``name``: what to call it ("[build 2/5] RUN make"); ``line``: where it stands in the
        Containerfile (int, from 1), None for what stands nowhere (pulling an image).
        """

    def step_output(self, key, stream, data):
        """A step's program wrote ``data`` (bytes): ``stream`` 1 is its output, 2 its errors.

        Without ``data`` it has been silent for a while.
        """

    def tick(self):
        """No step has said anything for a while."""

    def step_cached(self, key, name, line):
        """A step was not done: its result was there.  It hasn't been started."""

    def step_done(self, key, seconds):
        """A step that was started has ended well, after ``seconds`` (float)."""

    def step_failed(self, key, error):
        """A step that was started has failed: ``error`` (RlError or OSError)."""

    def step_cancelled(self, key):
        """A step that was started is given up, because another one failed."""

    def warning(self, text, line=None):
        """Something looks wrong (str); ``line``: where in the Containerfile, or None."""

    def transfer(self, key):
        """Who is told of bytes that come for a started step: as image.progress.Silent."""
        from rootless.image.progress import Silent as Bytes

        return Bytes()

    def finish(self, error=None):
        """The build is over: nothing more will be reported.  ``error``: why it failed."""
