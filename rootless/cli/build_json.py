"""Progress of a build for programs: one JSON object a line, in the form of BuildKit's rawjson.

https://pkg.go.dev/github.com/moby/buildkit/client#SolveStatus: the fields of an object are
``vertexes``, ``statuses``, ``logs`` and ``warnings``, each a list; bytes are in base64.
"""

import base64
import datetime
import hashlib

from rootless.cli.build_view import View
from rootless.model import jsontext


def _now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z")


class Raw(View):
    """Writes an object for each thing that happens."""

    def __init__(self, stream, now=_now):
        super().__init__(stream)
        self._now = now

    def _say(self, field, item):
        self._write(jsontext.dumps({field: [item]}) + "\n")

    def _vertex(self, key, **more):
        digest = "sha256:" + hashlib.sha256(str(key).encode()).hexdigest()
        return {"digest": digest, **more}

    def _line(self, text):
        return text

    def _known(self, key, **more):
        step = self._steps[key]
        return self._vertex(key, name=step.name, started=step.start, **more)

    def step_started(self, key, name, line):
        """See build.solve.progress.Silent."""
        with self._lock:
            self._start(key, name).start = self._now()
            self._say("vertexes", self._known(key))

    def step_output(self, key, stream, data):
        """See build.solve.progress.Silent."""
        if not data:
            return
        with self._lock:
            text = base64.b64encode(data).decode()
            vertex = self._vertex(key)["digest"]
            self._say("logs", {"vertex": vertex, "stream": stream, "data": text,
                               "timestamp": self._now()})  # fmt: skip

    def step_cached(self, key, name, line):
        """See build.solve.progress.Silent."""
        with self._lock:
            now = self._now()
            self._start(key, name).start = now
            self._say("vertexes", self._known(key, completed=now, cached=True))
            del self._steps[key]

    def _end(self, key, **more):
        with self._lock:
            if key in self._steps:
                self._say("vertexes", self._known(key, completed=self._now(), **more))
                del self._steps[key]

    def step_done(self, key, seconds):
        """See build.solve.progress.Silent."""
        self._end(key)

    def step_failed(self, key, error):
        """See build.solve.progress.Silent."""
        self._end(key, error=str(error))

    def step_cancelled(self, key):
        """See build.solve.progress.Silent."""
        self._end(key, error="context canceled")

    def warning(self, text, line=None):
        """See build.solve.progress.Silent."""
        with self._lock:
            found = {"level": 1, "short": base64.b64encode(text.encode()).decode()}
            if line is not None:
                found["range"] = [{"start": {"line": line}, "end": {"line": line}}]
            self._say("warnings", found)

    def transfer(self, key):
        """See build.solve.progress.Silent."""
        return _Status(self, key)

    def status(self, key, inner, label, count, total, started, completed=None):
        """How far a piece of a step's bytes is."""
        with self._lock:
            found = {"id": str(label), "vertex": self._vertex(key)["digest"], "name": str(inner),
                     "current": count, "timestamp": self._now(), "started": started}  # fmt: skip
            if total:
                found["total"] = total
            if completed:
                found["completed"] = completed
            self._say("statuses", found)


class _Status:
    """The bytes of one step."""

    def __init__(self, view, key):
        self._view = view
        self._key = key
        self._pieces = {}

    def start(self, key, label, total=None):
        """See image.progress.Silent."""
        self._pieces[key] = [label, 0, total, _now(), 0]
        self._tell(key)

    def advance(self, key, count):
        """See image.progress.Silent."""
        piece = self._pieces.get(key)
        if piece:
            piece[1] += count
            if piece[1] - piece[4] >= 1 << 20:  # a line for each MiB, not for each read
                piece[4] = piece[1]
                self._tell(key)

    def done(self, key, text=""):
        """See image.progress.Silent."""
        if key in self._pieces:
            self._tell(key, _now())
            del self._pieces[key]

    def message(self, text):
        """See image.progress.Silent."""
        self._view.step_output(self._key, 2, f"{text}\n".encode("utf-8", "surrogateescape"))

    def close(self):
        """Nothing more comes."""

    def _tell(self, key, completed=None):
        label, count, total, started, _ = self._pieces[key]
        self._view.status(self._key, key, label, count, total, started, completed)
