"""Verbs about images and registries."""

from rootless.cli.options.common import (
    AUTHFILE,
    FILTER,
    FORMAT,
    IGNORE,
    NO_TRUNC,
    NO_TRUST,
    PLATFORM,
    TLS_VERIFY,
)
from rootless.cli.options.table import FLAG, Verb, flag, many, missing, number, value

_CERT_DIR = value("--cert-dir", "DIR", "Take certificates and keys from DIR", complete="dir")
_CREDS = value("--creds", "USER[:PASSWORD]", "Log in with these, only this time")
_QUIET = flag("-q --quiet", "Don't show progress")
_RETRY = (
    number("--retry", "N", "Try N more times where that may help (default: 3)"),
    value("--retry-delay", "TIME", "Wait that long before the first new try, twice as long"
          " before the next (default: 1s)"),
)  # fmt: skip
_CHANGE = many("-c --change", "INSTRUCTION",
               "Apply CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or"
               " WORKDIR")  # fmt: skip

VERBS = (
    Verb(
        "pull",
        "Get images from a registry, an archive or a directory",
        (
            flag("-a --all-tags", "Get every tag of the repository"),
            *PLATFORM(),
            AUTHFILE(),
            _CERT_DIR,
            _CREDS,
            value(
                "--policy",
                "POLICY",
                "When to ask the registry: always, missing, never, newer (default: always)",
                choices=("always", "missing", "never", "newer"),
            ),
            _QUIET,
            *_RETRY,
            TLS_VERIFY(),
            *missing(NO_TRUST, "--disable-content-trust", FLAG),
        ),
        "IMAGE [IMAGE...]",
        1,
        examples=(
            ("", "rl pull debian"),
            ("Another platform", "rl pull --platform linux/arm64 debian:12"),
            ("An archive", "rl pull oci-archive:image.tar"),
        ),
    ),
    Verb(
        "push",
        "Send an image to a registry, into an archive or a directory",
        (
            AUTHFILE(),
            _CERT_DIR,
            value("--compression-format", "FORMAT", "Compress layers with gzip or zstd (default:"
                  " as they are)", choices=("gzip", "zstd")),
            number("--compression-level", "N", "How hard to compress: gzip 1 to 9, zstd 1 to 22"),
            _CREDS,
            value("--digestfile", "FILE", "Write the image's digest to FILE", complete="file"),
            value("-f --format", "FORMAT", "Type of the manifest: oci, docker (or v2s2)"
                  " (default: as it is)", choices=("oci", "docker", "v2s2")),
            _QUIET,
            *_RETRY,
            TLS_VERIFY(),
            *missing("layers always go as --compression-format says, without it unchanged",
                     "--force-compression", FLAG),
            *missing("registries compress nothing; --compression-format says how to send layers",
                     "--compress", FLAG),
            *missing("rl knows no signatures, so that none are sent", "--remove-signatures", FLAG),
            *missing("signing is not supported by this version", "--sign-by --sign-passphrase-file"
                     " --sign-by-sigstore --sign-by-sigstore-private-key"),
            *missing("encryption is not supported by this version",
                     "--encryption-key --encrypt-layer"),
            *missing(NO_TRUST, "--disable-content-trust", FLAG),
        ),
        "IMAGE [DESTINATION]",
        1,
        2,
        complete="image",
        examples=(
            ("To where its name says", "rl push quay.io/team/app:1"),
            ("Under another name", "rl push app registry.example:5000/team/app:1"),
            ("Into an archive", "rl push app oci-archive:app.tar"),
        ),
    ),
    Verb(
        "images",
        "List images",
        (
            flag("-a --all", "Also those that are only parts of others"),
            flag("--digests", "Show the digests"),
            FILTER,
            FORMAT,
            flag("--history", "Show the names an image had before"),
            NO_TRUNC,
            flag("-n --noheading", "Don't print the headings"),
            flag("-q --quiet", "Print only the ids"),
            value(
                "--sort",
                "FIELD",
                "Sort by created, id, repository, size or tag (default: created)",
                choices=("created", "id", "repository", "size", "tag"),
            ),
        ),
        "[IMAGE]",
        0,
        1,
        complete="image",
        examples=(
            ("", "rl images"),
            ("For a script", "rl images --format '{{.Repository}}:{{.Tag}} {{.Size}}'"),
        ),
    ),
    Verb(
        "rmi",
        "Remove images",
        (
            flag("-a --all", "Remove all images"),
            flag("-f --force", "Also remove the containers that use it"),
            IGNORE,
            flag("--no-prune", "Keep images that nothing names any more"),
        ),
        "IMAGE [IMAGE...]",
        1,
        alone=("all",),
        complete="image",
    ),
    Verb("tag", "Give an image another name", (), "IMAGE NAME [NAME...]", 2, complete="image"),
    Verb("untag", "Take names from an image", (), "IMAGE [NAME...]", 1, complete="image"),
    Verb(
        "history",
        "Show how an image was made",
        (
            FORMAT,
            flag("-H --human", "Sizes and dates for people", default=True),
            NO_TRUNC,
            flag("-q --quiet", "Print only the ids"),
        ),
        "IMAGE",
        1,
        1,
        complete="image",
    ),
    Verb(
        "load",
        "Get images from an archive that save made",
        (
            value("-i --input", "FILE", "Read FILE, not standard input", complete="file"),
            _QUIET,
        ),
        examples=(("", "rl load -i images.tar"),),
    ),
    Verb(
        "save",
        "Write images to an archive",
        (
            value(
                "--format",
                "FORMAT",
                "docker-archive, oci-archive or oci-dir (default: docker-archive)",
                choices=("docker-archive", "oci-archive", "oci-dir"),
            ),
            flag("-m --multi-image-archive", "Each argument is an image, not a name for the first"),
            value("-o --output", "FILE", "Write to FILE, not to standard output",
                  complete="file"),
            _QUIET,
            *missing("layers are written as they came: plain in a docker-archive, compressed in"
                     " the others", "--compress --uncompressed", FLAG),
        ),
        "IMAGE [NAME...]",
        1,
        complete="image",
        examples=(("", "rl save --format oci-archive -o debian.tar debian"),),
    ),
    Verb(
        "import",
        "Make an image of a tar archive with files",
        (
            *PLATFORM()[1:],
            _CHANGE,
            value("-m --message", "TEXT", "A comment for the image's history"),
            _QUIET,
        ),
        "FILE|- [NAME]",
        1,
        2,
        complete="file",
        examples=(("", "tar c -C root . | rl import - mine:latest"),),
    ),
    Verb(
        "login",
        "Log in to a registry",
        (
            AUTHFILE(),
            _CERT_DIR,
            flag("--get-login", "Print the user who is logged in"),
            value("-p --password", "PASSWORD", "The password; others can see it: rather use"
                  " --password-stdin"),
            flag("--password-stdin", "Read the password from standard input"),
            TLS_VERIFY(),
            value("-u --username", "USER", "The user's name"),
            flag("-v --verbose", "Say where the credentials are kept"),
        ),
        "[REGISTRY]",
        0,
        1,
    ),
    Verb(
        "logout",
        "Log out of a registry",
        (flag("-a --all", "Log out of all registries"), AUTHFILE()),
        "[REGISTRY]",
        0,
        1,
        alone=("all",),
    ),
    Verb(
        "search",
        "Search registries for images",
        (
            AUTHFILE(),
            _CERT_DIR,
            flag("--compatible", "Show stars, official and automated, too"),
            _CREDS,
            FILTER,
            FORMAT,
            number("--limit", "N", "Show at most N images of each registry (default: 25)"),
            flag("--list-tags", "The argument is a repository: show its tags"),
            NO_TRUNC,
            TLS_VERIFY(),
        ),
        "TERM",
        1,
        1,
        examples=(
            ("The registries of registries.toml", "rl search --limit 3 alpine"),
            ("One registry", "rl search quay.io/podman"),
            ("", "rl search --list-tags quay.io/podman/hello"),
        ),
    ),
)  # fmt: skip
