"""Verbs that change the life of containers."""

from rootless.cli.options.common import (
    CIDFILE,
    DETACH_KEYS,
    FILTER,
    FILTER_LONG,
    IGNORE,
    LATEST,
    STOP_TIME,
)
from rootless.cli.options.limits import LIMITS
from rootless.cli.options.table import FLAG, Verb, flag, missing, value, words

_CONTAINERS = "CONTAINER [CONTAINER...]"


def _several(name, summary, options, **more):
    """A verb for any number of containers, which --all, --latest or --filter also name."""
    named = {option.name for option in options}
    more.setdefault("alone", tuple(n for n in ("all", "latest", "filter") if n in named))
    more.setdefault("instead", ("cidfile",) if "cidfile" in named else ())
    return Verb(name, summary, options, _CONTAINERS, 1, complete="container", **more)


VERBS = (
    _several(
        "start",
        "Start containers that are not running",
        (
            flag("-a --attach", "Attach to its output, and wait for its end"),
            flag("-i --interactive", "Attach your standard input too, if it was made with -i"),
            DETACH_KEYS(),
            flag("--sig-proxy", "With --attach: pass signals on to the container", default=True),
            flag("--all", "Start all containers"),
            FILTER,
            LATEST,
        ),
        examples=(("See what it says", "rl start --attach job"),),
    ),
    _several(
        "stop",
        "Stop containers: ask first, then kill",
        (flag("-a --all", "Stop all running containers"), CIDFILE, FILTER, IGNORE, LATEST,
         STOP_TIME),
        examples=(("", "rl stop web"), ("Don't wait", "rl stop -t 0 --all")),
    ),
    _several(
        "kill",
        "Send a signal to containers",
        (
            flag("-a --all", "Signal all running containers"),
            CIDFILE,
            LATEST,
            value("-s --signal", "SIGNAL", "The signal, by name or number (default: KILL)"),
        ),
        examples=(("", "rl kill --signal HUP web"),),
    ),
    _several(
        "restart",
        "Stop containers and start them again",
        (
            flag("-a --all", "Restart all containers"),
            CIDFILE,
            FILTER,
            LATEST,
            flag("--running", "Only those that are running"),
            STOP_TIME,
        ),
        alone=("all", "latest", "filter"),
        instead=("cidfile", "running"),
    ),
    _several(
        "pause",
        "Freeze the processes of containers",
        (flag("-a --all", "Pause all running containers"), CIDFILE, FILTER, LATEST),
    ),
    _several(
        "unpause",
        "Let the processes of paused containers go on",
        (flag("-a --all", "Unpause all paused containers"), CIDFILE, FILTER, LATEST),
    ),
    _several(
        "rm",
        "Remove containers",
        (
            flag("-a --all", "Remove all containers"),
            CIDFILE,
            *missing("this version does not support it", "--depend", FLAG),
            FILTER_LONG,
            flag("-f --force", "Stop it first if it is running"),
            IGNORE,
            LATEST,
            STOP_TIME,
            flag("-v --volumes", "Remove its anonymous volumes too"),
        ),
        examples=(("", "rl rm web"), ("Everything, running or not", "rl rm -f --all")),
    ),
    Verb(
        "wait",
        "Wait for containers, and print their exit codes",
        (
            words("--condition", "CONDITION",
                  "What to wait for: created, initialized, running, paused, stopping, stopped,"
                  " exited, removing, healthy, unhealthy (default: stopped)"),
            flag("--ignore", "Print -1 for those that don't exist"),
            value("-i --interval", "DURATION", "How often to look (default: 250ms)"),
            LATEST,
        ),
        _CONTAINERS,
        1,
        alone=("latest",),
        complete="container",
    ),
    _several(
        "init",
        "Prepare containers up to the point where only their program is missing",
        (flag("-a --all", "Prepare all created containers"), LATEST),
    ),
    Verb(
        "rename",
        "Give a container another name",
        (),
        "CONTAINER NAME",
        2,
        2,
        complete="container",
    ),
    Verb(
        "update",
        "Change a container that exists",
        (
            value("--restart", "POLICY",
                  "When to start it again: no, on-failure[:TIMES], always, unless-stopped"),
            value("--network-rate", "RATE",
                  "Limit what it sends and receives, as for rl run; none lifts the limit"),
            LATEST,
            *LIMITS(),
        ),
        "CONTAINER",
        1,
        1,
        alone=("latest",),
        complete="container",
    ),
)  # fmt: skip
