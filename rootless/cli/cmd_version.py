"""rl version."""

from rootless.cli import output


def facts():
    """What is known about this rl and what it runs with, as a dict of str."""
    import os
    import platform

    from rootless import __version__

    kernel = os.uname()
    return {
        "Version": __version__,
        "Python": platform.python_version(),
        "Kernel": kernel.release,
        "OsArch": f"linux/{_architecture(kernel.machine)}",
    }


def _architecture(machine):
    """The name images use for a machine of uname(2)."""
    names = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
    return names.get(machine, machine)


def main(engine, request):
    """See docs/cli.md."""
    found = facts()
    if request.format:
        # docker and podman have a part for the daemon; here both are one.
        output.document({"Client": found, "Server": found, **found}, request.format)
        return 0
    for name, value in found.items():
        output.line(f"{name + ':':<12}{value}")
    return 0
