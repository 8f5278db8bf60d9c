"""Confinement: capabilities, masked paths, filters, --security-opt, --privileged.  Pure.

The values are those of docs/confinement.md.
"""

import os

from rootless.engine.spec.values import container_path, fail
from rootless.errors import RlError
from rootless.kernel import caps

DEFAULT_CAPS = caps.union(
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID"
    " SYS_CHROOT".split()
)
_MASKED = (
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/proc/interrupts",
    "/sys/firmware", "/sys/fs/selinux", "/sys/devices/virtual/powercap",
)
_READ_ONLY = (
    "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
)
_LABEL = "io.containers.capabilities"
_PROC_OPTIONS = {"hidepid": ("0", "1", "2", "4", "off", "noaccess", "invisible", "ptraceable"),
                 "subset": ("pid",), "gid": None}


class NoSuchSecurityOption(RlError):
    """--security-opt {0}: rl does not know it"""

    hint = ("no-new-privileges, seccomp=FILE|unconfined, mask=PATHS, unmask=PATHS|ALL, proc-opts=,"
            " label=disable, apparmor=unconfined")


class NotAvailable(RlError):
    """--security-opt {0}: {1}"""


class Options:
    """--security-opt, taken apart.  Raises NoSuchSecurityOption, NotAvailable, BadProfile."""

    def __init__(self, request, host):
        self.no_new_privileges = False
        self.seccomp = None  # "unconfined", a path, or None: the default
        self.mask, self.unmask, self.proc = [], [], []
        self.apparmor = None
        for entry in request.options.get("security_opt") or ():
            self._read(entry, host)

    def _read(self, entry, host):
        key, value = _halves(entry)
        if key == "no-new-privileges":
            if value not in ("", "true", "false"):
                fail("--security-opt", entry, "true or false")
            self.no_new_privileges = value != "false"
        elif key == "seccomp" and value:
            self.seccomp = value
        elif key in ("mask", "unmask") and value:
            self._paths(entry, key, value)
        elif key == "systempaths" and value == "unconfined":
            self.unmask.append("ALL")
        elif key == "proc-opts" and value:
            self.proc += _proc_options(entry, value)
        elif key == "label" and value:
            _label(entry, value, host)
        elif key == "apparmor" and value:
            if value != "unconfined":
                raise NotAvailable(
                    entry, "an AppArmor profile can be set only by root" if host.apparmor
                    else "AppArmor is not on here",
                    hint="leave it out; seccomp, capabilities and masked paths hold in any case")
        else:
            raise NoSuchSecurityOption(entry)

    def _paths(self, entry, key, value):
        for path in value.split(":"):
            if key == "unmask" and path.upper() == "ALL":
                self.unmask.append("ALL")
            elif path:
                getattr(self, key).append(container_path("--security-opt", entry, path))


def _halves(entry):
    """KEY=VALUE, KEY:VALUE (docker's older spelling) or KEY."""
    for position, character in enumerate(entry):
        if character in "=:":
            return entry[:position], entry[position + 1 :]
    return entry, ""


def _proc_options(entry, value):
    """Options of proc(5) that a container's own /proc takes."""
    words = value.split(",")
    for word in words:
        key, _, text = word.partition("=")
        allowed = _PROC_OPTIONS.get(key, ())
        if (allowed is None and not text.isdecimal()) or (allowed is not None
                                                          and text not in allowed):
            fail("--security-opt", entry, f"{word!r} is not an option of /proc",
                 "hidepid=, gid= or subset=pid, see proc(5)")
    return words


def _label(entry, value, host):
    if value != "disable":
        raise NotAvailable(
            entry,
            "rl sets no SELinux labels" if host.selinux else "SELinux is not on here",
            hint="leave it out, or write label=disable",
        )


# --- capabilities --------------------------------------------------------------------------


def capabilities(request, image, host):
    """The OCI ``capabilities`` of root and those of any other user: two dicts.

    Root has its set as bounding, permitted and effective one.  Another user has only what
    --cap-add named, then inheritable and ambient too, under the same bounding set
    (podman).  Nothing is ever inheritable for root (CVE-2022-24769).
    """
    known = host.capabilities
    added = caps.union(request.options.get("cap_add") or ()) & known
    dropped = caps.union(request.options.get("cap_drop") or ())
    _conflict(request)
    if request.options.get("privileged"):
        bounding = known & ~dropped
    elif dropped == caps.ALL:
        bounding = added
    else:
        bounding = (_shrunk(DEFAULT_CAPS & known, image) | added) & ~dropped
    mine = added & bounding
    return _object(bounding, bounding, 0), _object(bounding, mine, mine)


def _conflict(request):
    """The same capability added and dropped by name is a mistake."""
    adds = [caps.parse(name) for name in request.options.get("cap_add") or ()]
    for name in request.options.get("cap_drop") or ():
        bit = caps.parse(name)
        if bit != caps.ALL and bit in adds:
            fail("--cap-drop", name, "it is added as well")
        if bit == caps.ALL and caps.ALL in adds:
            fail("--cap-drop", name, "all of them are added as well")


def _shrunk(base, image):
    """``base`` without what the image says it doesn't need; it can't ask for more."""
    label = (image.get("Labels") or {}).get(_LABEL)
    if label is None:
        return base
    needed = 0
    for name in label.split(","):
        try:
            needed |= caps.parse(name.strip())
        except caps.UnknownCapability:
            pass  # an image's word: it takes nothing and gives nothing
    return base & needed


def _object(bounding, rest, inherited):
    return {
        "bounding": caps.names(bounding),
        "effective": caps.names(rest),
        "permitted": caps.names(rest),
        "inheritable": caps.names(inherited),
        "ambient": caps.names(inherited),
    }


# --- masks and filters ---------------------------------------------------------------------


def masks(options, privileged, host_network, throttles):
    """(maskedPaths, readonlyPaths) of the spec."""
    masked, read_only = [], []
    if not privileged:
        defaults = [*_MASKED, *throttles]
        if host_network:
            defaults.append("/sys/kernel")
        masked = [path for path in defaults if not _unmasked(path, options.unmask)]
        read_only = [path for path in _READ_ONLY if not _unmasked(path, options.unmask)]
    masked += [path for path in options.mask if path not in masked]
    return masked, read_only


def _unmasked(path, patterns):
    if not patterns:
        return False
    from fnmatch import fnmatchcase

    for pattern in patterns:
        if pattern == "ALL":
            return True
        # As shell patterns: * doesn't go beyond a slash.
        parts, wanted = path.split("/"), pattern.split("/")
        if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
            return True
    return False


def seccomp(options, request, host, bounding):
    """(word for ``rl.seccomp``, ``linux.seccomp`` or None).

    A file's profile goes into the spec itself, so that the container starts again in the
    same way when the file is gone.
    """
    choice = options.seccomp
    if choice is None:
        choice = "unconfined" if request.options.get("privileged") else "default"
    if choice in ("default", "unconfined"):
        return choice, None
    from rootless.runtime.profile import resolve_profile

    path = os.path.join(host.cwd, choice)
    return "profile", resolve_profile(path, caps.union(bounding))
