"""What a RUN needs leave for: --allow (docker buildx's rule), and a machine that can do it."""

from rootless.build.language.source import error_at
from rootless.engine import images_platform
from rootless.errors import RlError

INSECURE, HOST = "security.insecure", "network.host"
KNOWN = (INSECURE, HOST)


class BadEntitlement(RlError):
    """--allow {0!r}: rl knows security.insecure and network.host"""

    hint = "rl build --allow security.insecure"


def check_options(options):
    """See that --allow names what there is. Raises BadEntitlement."""
    for name in options.allow:
        if name not in KNOWN:
            raise BadEntitlement(name)


def check(options, instruction):
    """See that a RUN asks for nothing that wasn't allowed. Raises BuildError with its place."""
    node = instruction.node
    if instruction.security == "insecure" and INSECURE not in options.allow:
        raise error_at(
            node, "this step wants to run without confinement, and nobody has allowed it",
            f"read what it does, then: rl build --allow {INSECURE}", "--security",
        )  # fmt: skip
    wanted = instruction.network == "host" and options.network != "host"
    if wanted and HOST not in options.allow:
        raise error_at(
            node, "this step wants the network of this machine, and nobody has allowed it",
            f"read what it does, then: rl build --allow {HOST}", "--network",
        )  # fmt: skip


def check_platform(name, platform, node):
    """See that programs of the image ``name`` for an oci.Platform run here. Raises BuildError
    with its place."""
    if not images_platform.runs_here(platform):
        raise error_at(
            node, f"{name} is for {platform}, whose programs don't run on this machine"
            f" ({images_platform.host()})",
            "install qemu-user-static and binfmt-support, which register an emulator with"
            " binfmt_misc; steps without RUN need none",
        )  # fmt: skip
