"""Where rl's images differ from those of Debian's buildah, and why.

Each row: (cases or None for all, what of tree.facts, why). A row that explains nothing any
more fails the suite, so that the table stays true.
"""

VERSION = "1.28"

_BITS = "buildah takes set-user-ID from what comes out of the context; docker keeps the mode"
_MOUNTED = "buildah leaves what it mounted over during RUN in the image, empty; rl leaves nothing"
_TARGETS = "buildah leaves the directories above what RUN --mount mounted; rl and docker don't"

TABLE = [
    (None, "label io.buildah.version", "buildah marks what it made; rl doesn't"),
    (None, "/etc/hosts", _MOUNTED),
    (None, "/etc/hostname", _MOUNTED),
    (None, "/etc/resolv.conf", _MOUNTED),
    (None, "/run", _MOUNTED),
    (("run-leaves-nothing",), "/made", _TARGETS),
    (("run-leaves-nothing",), "/made/for", _TARGETS),
    (None, "/run/secrets", _MOUNTED),
    (("label", "entrypoint-resets-cmd", "entrypoint-empty", "cmd-keeps-entrypoint", "inherited",
      "onbuild-carried-out"), "/start",
     "buildah makes the base image's working directory; docker and rl only that of WORKDIR"),
    (("expose",), "config ExposedPorts", "buildah keeps a range as it is written"),
    (("volume",), "/from", "buildah makes the directory of the last VOLUME; docker makes none"),
    (("volume",), "/from/env", "as /from"),
    (("format-oci",), "/v", "as /from"),
    (("copy-file",), "/modes/odd", _BITS),
    (("copy-directory", "copy-ignored"), "/all/odd", _BITS),
]
