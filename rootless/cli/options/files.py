"""Verbs about the files of containers."""

from rootless.cli.options.common import LATEST, NO_TRUNC
from rootless.cli.options.table import Verb, flag, many, missing, value

VERBS = (
    Verb(
        "cp",
        "Copy files between a container and this machine",
        (
            flag("-a --archive", "Files belong to the user that the container runs as",
                 default=True),
            flag("--overwrite", "A file may replace a directory, and the other way round"),
        ),
        "[CONTAINER:]SOURCE [CONTAINER:]DESTINATION",
        2,
        2,
        complete="container",
        examples=(
            ("Out of the container", "rl cp web:/etc/nginx/nginx.conf ."),
            ("A tar archive into it", "tar c site | rl cp - web:/usr/share/nginx/html"),
        ),
    ),
    Verb(
        "commit",
        "Make an image of a container",
        (
            value("-a --author", "AUTHOR", "Who made the image"),
            many("-c --change", "INSTRUCTION",
                 "Apply CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME"
                 " or WORKDIR"),
            value("-f --format", "FORMAT", "Kind of manifest: oci or docker (default: oci)",
                  choices=("oci", "docker")),
            value("--iidfile", "FILE", "Write the image's id to FILE", complete="file"),
            flag("--include-volumes", "Make the container's volumes volumes of the image"),
            value("-m --message", "TEXT", "A comment for the image's history"),
            flag("-p --pause", "Pause the container meanwhile"),
            flag("-q --quiet", "Don't show progress"),
            flag("-s --squash", "Make one layer of the whole image"),
        ),
        "CONTAINER [IMAGE]",
        1,
        2,
        complete="container",
        examples=(("", "rl commit --change 'CMD [\"/srv/start\"]' job mine:latest"),),
    ),
    Verb(
        "export",
        "Write the files of a container as a tar archive",
        (value("-o --output", "FILE", "Write to FILE, not to standard output", complete="file"),),
        "CONTAINER",
        1,
        1,
        complete="container",
    ),
    Verb(
        "mount",
        "Mount the root file system of containers (inside rl unshare)",
        (flag("-a --all", "Mount all containers"), value("--format", "FORMAT", "json"), LATEST,
         NO_TRUNC),
        "[CONTAINER...]",
        alone=("all", "latest"),
        complete="container",
        examples=(("", "rl unshare sh -c 'ls $(rl mount web)'"),),
    ),
    Verb(
        "unmount",
        "Unmount the root file system of containers",
        (
            flag("-a --all", "Unmount all that are mounted"),
            flag("-f --force", "Even if something still uses it"),
            LATEST,
        ),
        "CONTAINER [CONTAINER...]",
        1,
        alone=("all", "latest"),
        complete="container",
    ),
    Verb(
        "unshare",
        "Run a command in the user namespace that containers get",
        missing("a network's namespace is its holder's alone: rl exec enters a container's",
                "--rootless-netns"),
        "[COMMAND [ARG...]]",
        passthrough=True,
        examples=(
            ("See the files of a container as their owners", "rl unshare ls -ln"),
            ("", "rl unshare cat /proc/self/uid_map"),
        ),
    ),
)  # fmt: skip
