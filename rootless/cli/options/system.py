"""Verbs about rl itself and the machine."""

from rootless.cli.options.common import FILTER_LONG, FORCE_PROMPT, FORMAT, FORMAT_F
from rootless.cli.options.table import Verb, flag, value

VERBS = (
    Verb("info", "Show what rl found on this machine, and which way it takes",
         (FORMAT_F, flag("--why", "Show every rung of every ladder, and why it is in use or not"))),
    Verb("version", "Show the version of rl and of what it runs with", (FORMAT_F,)),
    Verb("doctor", "Find out what is missing here, and how to get it",
         (FORMAT_F,)),
    Verb(
        "autostart",
        "Start containers with --restart always when this machine boots",
        (
            flag("--remove", "Don't do so any more"),
            flag("--now", "Start them now: what the machine calls when it boots"),
        ),
    ),
    Verb("system df", "Show what takes room on the disk",
         (FORMAT, flag("-v --verbose", "Show every image, container and volume"))),
    Verb(
        "system prune",
        "Remove what nothing uses",
        (
            flag("-a --all", "Also images that no container uses"),
            FILTER_LONG,
            FORCE_PROMPT,
            flag("--volumes", "Also volumes that no container uses"),
        ),
    ),
    Verb(
        "system check",
        "Check the store",
        (
            flag("-q --quick", "Don't read every file"),
            flag("-r --repair", "Mend what can be, remove what can't"),
            flag("-f --force", "With --repair: also remove damaged containers"),
        ),
    ),
    Verb("system reset", "Remove everything that rl keeps", (FORCE_PROMPT,)),
    Verb(
        "completion",
        "Print the completions for a shell",
        (value("-f --file", "FILE", "Write to FILE, not to standard output", complete="file"),),
        "bash|zsh|fish",
        1,
        1,
        complete="shell",
        examples=(("", "rl completion bash > ~/.local/share/bash-completion/completions/rl"),),
    ),
    Verb("__ended", "Finish or restart a container; called by its monitor",
         (), "ID [LOCK]", 1, 2, module="cmd_ended", hidden=True),
    Verb("__health", "Run a health check; called by the container's monitor",
         (), "ID", 1, 1, module="cmd_health", hidden=True),
    Verb("__complete", "Print names for the completions",
         (), "KIND", 1, 1, module="cmd_complete", hidden=True),
)  # fmt: skip
