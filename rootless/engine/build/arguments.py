"""Options of a build, read: build arguments, times, which cache, how many at once."""

import os

from rootless.build.copy.plan import Times
from rootless.build.solve.cache import Cache
from rootless.errors import RlError

_HIGHEST = 253402300799  # the last second of the year 9999: what RFC 3339 can say


class BadArgument(RlError):
    """--build-arg {0!r} has no name"""

    hint = "--build-arg NAME=VALUE"


class BadArgumentFile(RlError):
    """--build-arg-file {path}: {why}"""

    hint = "a file of lines NAME=VALUE; those that begin with # are comments"


class BadTime(RlError):
    """{option} {value}: expected seconds since 1970"""


class TwoTimes(RlError):
    """--timestamp and --source-date-epoch can't be used together"""

    hint = "--timestamp also sets the time of every new file, --source-date-epoch only limits it"


class BadDuration(RlError):
    """--cache-ttl {0!r}: expected a duration such as 30m or 24h"""


class BuildTimes(Times):
    """Times of layers, and ``epoch``: that of the image, or None for the time it is."""

    epoch = None


def given(options, environ):
    """{name: value} of the build arguments; what has no value is taken from ``environ``.

    --build-arg is stronger than --build-arg-file.  Raises BadArgument, BadArgumentFile.
    """
    found = {}
    for path in options.build_arg_file:
        found.update(_pairs(_lines(path), environ))
    found.update(_pairs(options.build_arg, environ))
    if options.source_date_epoch is not None:
        found.setdefault("SOURCE_DATE_EPOCH", str(options.source_date_epoch))
    return found


def _lines(path):
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file.read(1 << 20).splitlines()]
    except UnicodeDecodeError:
        raise BadArgumentFile(path=path, why="it is not text") from None
    except OSError as error:
        raise BadArgumentFile(path=path, why=error.strerror) from None
    return [line for line in lines if line and not line.startswith("#")]


def _pairs(texts, environ):
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise BadArgument(text)
        if equals:
            yield name, value
        elif name in environ:
            yield name, environ[name]


def times(options):
    """The BuildTimes that the options ask for. Raises TwoTimes, BadTime."""
    stamp, epoch = options.timestamp, options.source_date_epoch
    for name, value in (("--timestamp", stamp), ("--source-date-epoch", epoch)):
        if value is not None and not 0 <= value <= _HIGHEST:
            raise BadTime(option=name, value=value)
    if stamp is not None and epoch is not None:
        raise TwoTimes()
    # Without a limit to the times of its files an image would be another one each time,
    # and --source-date-epoch is for images that are not: so the limit is what one gets.
    newest = epoch if options.rewrite_timestamp else None
    found = BuildTimes(newest=newest, stamp=stamp, created=stamp if epoch is None else epoch)
    found.epoch = found.created
    return found


def cache(store, options):
    """The Cache that the options ask for."""
    import time

    usable = options.layers and not options.no_cache
    oldest = None
    if options.cache_ttl is not None:
        seconds = _seconds(options.cache_ttl)
        usable = usable and seconds > 0
        oldest = time.time() - seconds
    return Cache(store, usable, oldest, keep=options.layers)


def _seconds(text):
    from rootless.build.language import durations

    if text == "0":
        return 0.0
    try:
        return durations.nanoseconds(text) / 1e9
    except ValueError:
        raise BadDuration(text) from None


def jobs(options):
    """How many stages to build at once; 0 for no limit."""
    if options.jobs is None:
        return len(os.sched_getaffinity(0))
    return options.jobs


def is_anew(options, vertex):
    """Whether --no-cache-filter names this stage (graph.Vertex), by name or number."""
    return bool(_filters(options) & _names(vertex))


def no_stages(options, vertices):
    """What --no-cache-filter names and no stage is called (sorted)."""
    return sorted(_filters(options) - {name for vertex in vertices for name in _names(vertex)})


def _filters(options):
    words = (word.strip().lower() for text in options.no_cache_filter for word in text.split(","))
    return {word for word in words if word}


def _names(vertex):
    name = {vertex.stage.name.lower()} if vertex.stage.name else set()
    return {*name, str(vertex.index)}
