"""Verbs that go into running containers."""

from rootless.cli.options.common import DETACH_KEYS, LATEST
from rootless.cli.options.table import Verb, flag, many, number, value

VERBS = (
    Verb(
        "exec",
        "Run a command in a running container",
        (
            flag("-d --detach", "Leave it running and print the id of the session"),
            DETACH_KEYS(),
            many("-e --env", "NAME[=VALUE]", "Set a variable; without a value, take over yours"),
            many("--env-file", "FILE", "Read variables from FILE, one a line", complete="file"),
            flag("-i --interactive", "Keep its standard input open"),
            LATEST,
            number("--preserve-fds", "N", "Pass N more open files on, from 3 up"),
            flag("--privileged", "Give it all capabilities the container could have"),
            flag("-t --tty", "Give it a terminal"),
            value("-u --user", "USER[:GROUP]", "Run as this user, by name or number"),
            value("-w --workdir", "DIR", "Start in this directory of the container"),
        ),
        "CONTAINER COMMAND [ARG...]",
        2,
        instead=("latest",),
        passthrough=True,
        complete="container",
        examples=(
            ("A shell in it", "rl exec -it web sh"),
            ("As another user", "rl exec -u www-data web id"),
        ),
    ),
    Verb(
        "attach",
        "Attach to a running container",
        (
            DETACH_KEYS(),
            LATEST,
            flag("--no-stdin", "Don't attach your standard input"),
            flag("--sig-proxy", "Pass signals on to the container", default=True),
        ),
        "CONTAINER",
        1,
        1,
        alone=("latest",),
        complete="container",
    ),
)
