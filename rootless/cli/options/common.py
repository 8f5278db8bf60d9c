"""Rows that several verbs share."""

from rootless.cli.options.table import flag, many, number, value

LATEST = flag("-l --latest", "Take the container that was created last")
FORMAT = value(
    "--format", "FORMAT", "json, a Go template, or table and a Go template for its columns"
)
FORMAT_F = value("-f --format", "FORMAT", "json, or a Go template")
FILTER = many("-f --filter", "KEY=VALUE", "Only those that match; the manual has the keys")
FILTER_LONG = many("--filter", "KEY=VALUE", "Only those that match; the manual has the keys")
CIDFILE = many("--cidfile", "FILE", "Take the container whose id is in FILE", complete="file")
IGNORE = flag("-i --ignore", "Say nothing about those that don't exist")
NO_TRUNC = flag("--no-trunc", "Don't shorten anything")
NOHEADING = flag("--noheading", "Don't print the headings")
STOP_TIME = number("-t --time --timeout", "SECONDS",
                   "How long to wait before killing (default: 10)")  # fmt: skip
FORCE_PROMPT = flag("-f --force", "Don't ask first")


def DETACH_KEYS(group=None):
    """--detach-keys under that heading."""
    return value("--detach-keys", "KEYS",
                 "Keys that leave the container running (default: ctrl-p,ctrl-q)",
                 group=group)  # fmt: skip


def AUTHFILE(group=None):
    """--authfile under that heading."""
    return value("--authfile", "FILE", "Read the registries' credentials from FILE",
                 group=group, complete="file")  # fmt: skip


def TLS_VERIFY(group=None):
    """--tls-verify under that heading."""
    return flag("--tls-verify", "Insist on HTTPS and a valid certificate", default=True,
                group=group)  # fmt: skip


CERT_DIR = value("--cert-dir", "DIR", "Take certificates and keys from DIR", complete="dir")
CREDS = value("--creds", "USER[:PASSWORD]", "Log in with these, only this time")
COMPRESSION = (
    value("--compression-format", "FORMAT", "Compress layers with gzip or zstd (default: as they"
          " are)", choices=("gzip", "zstd")),
    number("--compression-level", "N", "How hard to compress: gzip 1 to 9, zstd 1 to 22"),
)  # fmt: skip


def PLATFORM(group=None):
    """What chooses one image of a multi-platform one, under that heading."""
    return (
        value("--platform", "OS/ARCH[/VARIANT]", "Take the image for this platform",
              group=group),
        value("--arch", "ARCH", "Take the image for this architecture", group=group),
        value("--os", "OS", "Take the image for this operating system", group=group),
        value("--variant", "VARIANT", "Take the image for this variant of the architecture",
              group=group),
    )  # fmt: skip


NO_TRUST = "content trust does not exist any more; rl checks every digest"
