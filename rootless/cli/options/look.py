"""Verbs that show containers."""

from rootless.cli.options.common import FILTER, FORMAT, FORMAT_F, LATEST, NO_TRUNC, NOHEADING
from rootless.cli.options.table import Verb, flag, number, value

_SINCE = value("--since", "TIME", "From this time on: a date, a Unix time, or how long ago (10m)")
_UNTIL = value("--until", "TIME", "Up to this time: a date, a Unix time, or how long ago (10m)")

VERBS = (
    Verb(
        "ps",
        "List containers",
        (
            flag("-a --all", "Also those that are not running"),
            FILTER,
            FORMAT,
            number("-n --last", "N", "The last N created, in any state", least=-1),
            LATEST,
            NO_TRUNC,
            NOHEADING,
            flag("--ns", "Show the namespaces"),
            flag("-q --quiet", "Print only the ids"),
            flag("-s --size", "Show how much room they take"),
            value(
                "--sort",
                "FIELD",
                "Sort by command, created, id, image, names, runningfor, size or status"
                " (default: created)",
                choices=(
                    "command", "created", "id", "image", "names", "runningfor", "size", "status",
                ),
            ),
            number("-w --watch", "SECONDS", "Show it again and again", least=1),
        ),
        examples=(
            ("All, with what they take", "rl ps --all --size"),
            ("For a script", "rl ps --filter status=exited --format '{{.ID}} {{.Names}}'"),
        ),
    ),
    Verb(
        "logs",
        "Show what containers have written",
        (
            flag("--color", "With --names: a colour for each container"),
            flag("-f --follow", "Go on with what they write from now on"),
            LATEST,
            flag("-n --names", "Begin each line with the container's name"),
            _SINCE,
            number("--tail", "LINES", "Only the last LINES (default: -1, all)", least=-1),
            flag("-t --timestamps", "Begin each line with its time"),
            _UNTIL,
        ),
        "CONTAINER [CONTAINER...]",
        1,
        alone=("latest",),
        complete="container",
        examples=(("", "rl logs --follow --tail 20 web"), ("", "rl logs --since 10m web")),
    ),
    Verb(
        "inspect",
        "Show everything about containers, images, volumes or networks",
        (
            FORMAT_F,
            LATEST,
            flag("-s --size", "Add how much room a container takes"),
            value(
                "-t --type",
                "TYPE",
                "What the name means: container, image, volume, network or all (default: all)",
                choices=("all", "container", "image", "volume", "network"),
            ),
        ),
        "NAME [NAME...]",
        1,
        alone=("latest",),
        complete="any",
        examples=(
            ("", "rl inspect web"),
            ("One value of it", "rl inspect --format '{{.State.Pid}}' web"),
        ),
    ),
    Verb(
        "top",
        "Show the processes of a container",
        (LATEST,),
        "CONTAINER [COLUMN...]",
        1,
        instead=("latest",),
        passthrough=True,
        complete="container",
        examples=(("", "rl top web"), ("Other columns", "rl top web pid,user,args")),
    ),
    Verb(
        "stats",
        "Show what containers use, again and again",
        (
            flag("-a --all", "Also those that are not running"),
            FORMAT,
            number("-i --interval", "SECONDS", "Time between two looks (default: 5)", least=1),
            LATEST,
            flag("--no-reset", "Don't clear the screen in between"),
            flag("--no-stream", "Look once"),
            NO_TRUNC,
        ),
        "[CONTAINER...]",
        alone=("all", "latest"),
        complete="container",
    ),
    Verb(
        "port",
        "Show the published ports of a container",
        (flag("-a --all", "Those of all containers"), LATEST),
        "CONTAINER [PORT[/PROTOCOL]]",
        1,
        2,
        alone=("all",),
        instead=("latest",),
        complete="container",
    ),
    Verb(
        "events",
        "Show what happens to containers, images and volumes",
        (
            FILTER,
            FORMAT,
            flag("--no-trunc", "Show ids in full", default=True),
            _SINCE,
            flag("--stream", "Go on with what happens from now on", default=True),
            value("--until", "TIME",
                  "Up to this time, then end: a date, a Unix time, or how long from now (10m)"),
        ),
        examples=(("", "rl events --since 1h --stream=false"), ("", "rl events -f event=died")),
    ),
    Verb(
        "diff",
        "Show which files differ from the image",
        (value("--format", "FORMAT", "json"), LATEST),
        "CONTAINER|IMAGE [CONTAINER|IMAGE]",
        1,
        2,
        instead=("latest",),
        complete="any",
    ),
)  # fmt: skip
