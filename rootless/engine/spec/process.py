"""What runs in the container: arguments, directory, user, limits.  Pure."""

from rootless.engine.spec.values import fail
from rootless.errors import RlError
from rootless.model import jsontext
from rootless.runtime import users

INIT = "/dev/init"  # where runtime/plan.py puts helpers/init
_OPEN_FILES = 1048576  # what podman and docker allow at most by default
_UNLIMITED = ("-1", "unlimited")
# getrlimit(2), the numbers of asm-generic/resource.h
_LIMITS = {
    name: number
    for number, name in enumerate(
        "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice"
        " rtprio rttime".split()
    )
}


class NoCommand(RlError):
    """the image says nothing about what to run, and no command was given"""

    hint = "write the command behind the image's name: rl run IMAGE COMMAND"


class LimitTooHigh(RlError):
    """--ulimit {0}: the highest value this user may have is {1}"""

    hint = "ask for no more, or let an administrator raise it in /etc/security/limits.conf"


class GroupsDenied(RlError):
    """--group-add {0}: with one id only, no group can be added"""

    hint = "rl doctor shows how to get more ids"


def arguments(request, image):
    """The argument list of the program (a list of str), init included; or NoCommand.

    docker's rules: --entrypoint hides the image's entrypoint and its command; "" stands
    for none; words behind the image replace its command.
    """
    options = request.options
    command = list(request.args[1:])
    given = options.get("entrypoint")
    if given is not None:
        entrypoint = _words(given)
    else:
        entrypoint = list(image.get("Entrypoint") or ())
        command = command or list(image.get("Cmd") or ())
    if entrypoint == [""]:
        entrypoint = []
    words = entrypoint + command
    if not words or not words[0]:
        raise NoCommand()
    if any("\0" in word for word in words):
        fail("COMMAND", repr(words[0]), "an argument has a NUL character")
    return [INIT, "--", *words] if options.get("init") else words


def _words(text):
    """--entrypoint: a JSON list of words, or one word."""
    if text.startswith("["):
        try:
            value = jsontext.loads(text)
        except jsontext.DecodeError:
            return [text]
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return value
        fail("--entrypoint", text, "a JSON list has words only")
    return [text]


def directory(request, image):
    """The working directory: absolute str."""
    given = request.options.get("workdir")
    if given is not None:
        if not given.startswith("/"):
            fail("--workdir", given, "not an absolute path of the container")
        return given
    path = image.get("WorkingDir") or "/"
    return path if path.startswith("/") else "/" + path


def user(request, image, host, space):
    """The ``user`` object: ``username`` as typed, groups, umask; ids where they are numbers.

    ``space`` is what ``idmaps.plan`` returned.  Raises users.BadUser, users.BadId,
    users.NotMapped, GroupsDenied.
    """
    options = request.options
    typed = options.get("user")
    if typed == "":
        fail("--user", "''", "it is empty")
    text = typed or image.get("User") or space["user"] or ""
    name, group = users.split(text)
    uid = users.number(name) if name else 0
    gid = users.number(group) if group else None
    if space["ids"] is not None:
        if uid is not None:
            users.check_mapped("user", uid, space["ids"])
        if gid is not None:
            users.check_mapped("group", gid, space["ids"])
    found = {"uid": uid or 0, "gid": gid or 0, "username": text}
    ids, names = [], []
    for extra in groups(request):
        if space["ids"] is not None and space["ids"].single:
            raise GroupsDenied(extra)
        number = users.number(extra)
        if number is None:
            names.append(extra)
            continue
        if space["ids"] is not None:
            users.check_mapped("group", number, space["ids"])
        ids.append(number)
    if ids:
        found["additionalGids"] = ids
    if names:
        found["groupNames"] = names
    found["umask"] = _umask(options.get("umask"))
    return found


def is_root(found):
    """Whether a ``user`` object is certainly root's: False where only the image knows."""
    name = users.split(found["username"])[0]
    return name in ("", "root") or users.number(name) == 0


def groups(request):
    """The values of --group-add but keep-groups, which stands alone."""
    wanted = [text for text in request.options.get("group_add") or () if text != "keep-groups"]
    if wanted and keep_groups(request):
        fail("--group-add", "keep-groups", "no other group can be added beside it")
    if "" in wanted:
        fail("--group-add", "''", "it is empty")
    return wanted


def keep_groups(request):
    """Whether the caller's supplementary groups stay in force."""
    return "keep-groups" in (request.options.get("group_add") or ())


def _umask(text):
    if text is None:
        return 0o022
    if not 0 < len(text) <= 4 or not set(text) <= set("01234567") or int(text, 8) > 0o777:
        fail("--umask", text, "not an octal mask", "for example 0022")
    return int(text, 8)


def limits(request, host):
    """The ``rlimits`` list: what --ulimit says, and podman's bound on files and processes."""
    wanted = {}
    for entry in request.options.get("ulimit") or ():
        if entry == "host":
            wanted = {name: None for name in ("nofile", "nproc")}
            continue
        name, equals, text = entry.partition("=")
        name = name.lower().removeprefix("rlimit_")
        if name not in _LIMITS or not equals:
            fail("--ulimit", entry, "no such limit",
                 "NAME=SOFT[:HARD]; the names are those of setrlimit(2), for example nofile")
        wanted[name] = _limit(entry, name, text)
    for name in ("nofile", "nproc"):
        if name not in wanted:
            bounds = [_OPEN_FILES if v < 0 else min(_OPEN_FILES, v) for v in host.limits[name]]
            wanted[name] = bounds if tuple(bounds) != tuple(host.limits[name]) else None
    return [
        {"type": "RLIMIT_" + name.upper(), "soft": pair[0], "hard": pair[1]}
        for name, pair in wanted.items()
        if pair is not None
    ]


def _limit(entry, name, text):
    from resource import getrlimit

    soft, colon, hard = text.partition(":")
    pair = [_bound(entry, soft), _bound(entry, hard if colon else soft)]
    endless = [value < 0 for value in pair]
    if not endless[1] and (endless[0] or pair[0] > pair[1]):
        fail("--ulimit", entry, "the soft limit is above the hard one")
    highest = getrlimit(_LIMITS[name])[1]
    if highest >= 0 and (endless[1] or pair[1] > highest):
        raise LimitTooHigh(entry, highest)
    return pair


def _bound(entry, text):
    if text in _UNLIMITED:
        return -1
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 63:
        fail("--ulimit", entry, f"{text!r} is not a number", "a number, or -1 for no limit")
    return int(text)


def wanted_oom_score(options):
    """What --oom-score-adj says (int); None where it wasn't given.  Raises BadOption."""
    wanted = options.get("oom_score_adj")
    if wanted is not None and not -1000 <= int(wanted) <= 1000:
        fail("--oom-score-adj", str(wanted), "not from -1000 to 1000")
    return None if wanted is None else int(wanted)


def oom_score(request, host, warnings):
    """``oomScoreAdj``; None to inherit.  What the kernel would refuse is raised, with a warning."""
    wanted = wanted_oom_score(request.options)
    if wanted is None:
        return None
    if wanted < host.oom_score_adj and host.uid != 0:
        warnings.append(
            f"--oom-score-adj {wanted}: only root may go below {host.oom_score_adj}, which is used"
        )
        return host.oom_score_adj
    return wanted
