"""Whether the end of a login session takes its containers along, and what prevents that.

logind(8) ends a user's service manager, and with KillUserProcesses= everything that the
sessions have started, unless the user lingers (loginctl(1), enable-linger).
"""

import os

_SEATS = "/run/systemd/seats"  # made by logind: sd_booted(3) says nothing about sessions
_LINGER = "/var/lib/systemd/linger"
_MARK = "told-session"
# Later ones are stronger (logind.conf(5)).
_DIRECTORIES = ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd")


def user_name(uid):
    """The login name of a user; the number as text where nobody has given it one."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def lingers(uid, top=""):
    """Whether the user's services and sessions outlive the last logout."""
    return os.path.exists(f"{top}{_LINGER}/{user_name(uid)}")


def concerns(engine, top=""):
    """Whether this user is to be told about logging out, if a container ends with it: not
    twice, not without logind, not who lingers."""
    if not os.path.exists(f"{top}{_SEATS}") or os.path.exists(f"{engine.config.root}/{_MARK}"):
        return False
    uid = os.geteuid()
    return uid != 0 and not lingers(uid, top)


def warning(engine, place=None, top=""):
    """One line to show with the first detached container of a user; None for nothing.

    ``place``: the container's cgroup, None where it has stayed in that of this process.
    ``top`` stands before the machine's paths, for tests.
    """
    return told(engine, place, top) if concerns(engine, top) else None


def told(engine, place=None, top=""):
    """``warning`` for a user whom it ``concerns``."""
    uid = os.geteuid()
    if not dies(uid, place, top):
        return None
    try:
        mark = f"{engine.config.root}/{_MARK}"
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        pass  # said again next time: better than never
    return ("your containers end with your login session; to keep them: "
            f"loginctl enable-linger {user_name(uid)}")


def dies(uid, place=None, top=""):
    """Whether what runs in the cgroup ``place`` (None: that of this process) is killed when
    the user has logged out."""
    places = [place] if place else _own_places(top)
    if any(f"/user@{uid}.service/" in f"{place}/" for place in places):
        return True
    in_session = any("/session-" in place and ".scope" in place for place in places)
    return in_session and kills_processes(top)


def _own_places(top):
    try:
        with open(f"{top}/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n").partition("::")[2] or line.rstrip("\n").rpartition(":")[2]
                    for line in file]
    except OSError:
        return []


def kills_processes(top=""):
    """KillUserProcesses= of logind.conf(5); the default is what the shipped file shows."""
    said = default = None
    for path in _files(top):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read(1 << 16).splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.strip().lstrip("#").partition("=")
            if key.strip() == "KillUserProcesses":
                if line.strip().startswith("#"):
                    default = value.strip()
                else:
                    said = value.strip()
    return (said or default or "yes").lower() in ("1", "yes", "y", "true", "t", "on")


def _files(top):
    found = [f"{top}{directory}/logind.conf" for directory in _DIRECTORIES]
    for directory in _DIRECTORIES:
        try:
            names = sorted(os.listdir(f"{top}{directory}/logind.conf.d"))
        except OSError:
            continue
        found += [f"{top}{directory}/logind.conf.d/{name}" for name in names]
    return found
