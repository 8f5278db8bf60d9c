"""make_spec: the whole configuration of one container.  Pure."""

import os

from rootless.engine.spec import environment, mounts, process, security
from rootless.engine.spec.namespaces import Namespaces
from rootless.engine.spec.values import fail, key_values, read_lines, signal
from rootless.model import network
from rootless.runtime import users

_VERSION = "1.1.0"
_TERM = 15
_SYSTEMD_STOP = 37  # SIGRTMIN+3
_SYSTEMD = ("/usr/sbin/init", "/sbin/init", "/usr/local/sbin/init")
_LONGEST_TIMEOUT = (1 << 31) - 1
_VOLUME_OPTIONS = ("volume", "mount", "tmpfs", "volumes_from")

# apt gives its downloads to a user of their own, checks that it has become that user, and
# stops where there is only one (runtime/fakeowner.py can't fake what getuid says).
_APT = "/etc/apt/apt.conf.d"
_APT_TEXT = (
    "// Here is one user id only, so apt cannot become another.\n"
    'APT::Sandbox::User "root";\n'
)


def make_spec(request, image, host, others=None):
    """The OCI runtime configuration for ``request`` (run or create), with rl's own keys.

    ``image`` is the ``config`` object of the image ({} with --rootfs), ``host`` the
    HostFacts, ``others`` a function: container's name → its mounts, for --volumes-from.
    docs/confinement.md describes the keys under ``rl``.  Raises RlError.
    """
    options = request.options
    warnings = []
    space = _space(request, host)
    spaces = Namespaces(request, host, space)
    space = spaces.space
    chosen = security.Options(request, host)
    hostname, set_hostname = spaces.hostname(request, host)
    words = process.arguments(request, image)
    systemd = _systemd(request, words, host, warnings)
    more = {"container_uuid": host.container[:32]} if systemd else None
    environ, home = environment.make(request, image, host, hostname, more)
    own_process = _process(request, image, host, space, chosen, warnings)
    own_process["args"] = words
    own_process["env"] = [f"{name}={value}" for name, value in environ.items()]
    linux, soft = _linux(request, host, spaces, chosen)
    word, profile = security.seccomp(
        chosen, request, host, own_process["capabilities"]["bounding"]
    )
    if profile is not None:
        linux["seccomp"] = profile
    entries, shared = _mounts(request, image, host, spaces, chosen, systemd, others, warnings)
    spec = {
        "ociVersion": _VERSION,
        "process": own_process,
        "root": {"path": "root", "readonly": bool(options.get("read_only"))},
        "mounts": entries,
        "annotations": key_values("--annotation", options.get("annotation") or ()),
        "linux": linux,
    }
    if set_hostname:
        spec["hostname"] = hostname
    spec["rl"] = {
        "hostname": hostname,
        "seccomp": word,
        "rung": space["ids"].rung if space["ids"] else None,
        "softSysctl": soft,
        "setHome": home,
        "volumes": shared,
        "texts": _texts(space),
        **_life(request, image, spaces, systemd),
        **_network(request, image, spaces, warnings),
        "passwd": _passwd(request, host, space),
        "labels": _labels(request, image),
        "warnings": warnings,
    }
    return spec


def _process(request, image, host, space, chosen, warnings):
    """The ``process`` object, but for what is run in which environment."""
    user = process.user(request, image, host, space)
    as_root, as_user = security.capabilities(request, image, host)
    found = {
        "terminal": bool(request.options.get("tty")),
        "user": user,
        "cwd": process.directory(request, image),
        "capabilities": as_root if process.is_root(user) else as_user,
        "userCapabilities": as_user,
        "rlimits": process.limits(request, host),
        "noNewPrivileges": chosen.no_new_privileges,
    }
    score = process.oom_score(request, host, warnings)
    if score is not None:
        found["oomScoreAdj"] = score
    return found


def _space(request, host):
    """As ``idmaps.plan``, which is loaded only for those who asked for something."""
    if any(request.options.get(name) for name in ("userns", "uidmap", "gidmap")):
        from rootless.engine.spec import idmaps

        return idmaps.plan(request, host)
    return {"mode": "new", "target": None, "ids": host.ids, "user": None, "keep": (0, 0)}


def _linux(request, host, spaces, chosen):
    privileged = bool(request.options.get("privileged"))
    sysctl, soft = spaces.sysctls(request)
    outside = not spaces.private("network")
    masked, read_only = security.masks(chosen, privileged, outside, host.throttles)
    linux = {
        "namespaces": spaces.entries(),
        "sysctl": sysctl,
        "maskedPaths": masked,
        "readonlyPaths": read_only,
        "rootfsPropagation": "private",
        "devices": _devices(request, host, privileged),
    }
    ids = spaces.space["ids"]
    if ids is not None:
        for key, ranges in (("uidMappings", ids.uids), ("gidMappings", ids.gids)):
            linux[key] = [
                {"containerID": inside, "hostID": outside, "size": count}
                for inside, outside, count in ranges
            ]
    return linux, soft


def _devices(request, host, privileged):
    if not privileged and not request.options.get("device"):
        return []
    from rootless.engine.spec import devices

    found = {entry["path"]: entry for entry in (devices.all_of_host() if privileged else ())}
    for entry in devices.given(request, host):
        found[entry["path"]] = entry
    return list(found.values())


def _mounts(request, image, host, spaces, chosen, systemd, others, warnings):
    own = mounts.defaults(request, host, spaces, chosen)
    if systemd:
        own += mounts.of_systemd()
        for entry in own:
            if entry["type"] == "cgroup":
                entry["options"] = [word for word in entry["options"] if word != "ro"]
    own += mounts.of_files(request, host)
    zone = _timezone(request, host)
    if zone:
        own.append(mounts.entry("/etc/localtime", "bind", zone,
                                 ["bind", "rprivate", "ro", "nosuid", "noexec", "nodev"]))
    wanted, shared = [], []
    if image.get("Volumes") or any(request.options.get(name) for name in _VOLUME_OPTIONS):
        from rootless.engine.spec import volumes

        wanted, shared = volumes.wanted(request, image, host, others, warnings)
    return mounts.merged(own, wanted), shared


def _timezone(request, host):
    """The file of this machine that becomes /etc/localtime; None to leave the image's."""
    name = request.options.get("tz")
    if name is None:
        return None
    hint = f"a name of {host.zoneinfo}, for example Europe/Berlin; or local"
    if name == "local":
        if not os.path.isfile(host.localtime):
            fail("--tz", name, f"this machine has no {host.localtime}", hint)
        return os.path.realpath(host.localtime)
    parts = name.split("/")
    path = os.path.join(host.zoneinfo, name)
    if not all(parts) or {".", ".."} & set(parts) or "\0" in name or not os.path.isfile(path):
        fail("--tz", name, "there is no such time zone on this machine", hint)
    return os.path.realpath(path)


def _systemd(request, words, host, warnings):
    """Whether the container is one for systemd: tmpfs, stop signal, a cgroup of its own."""
    mode = (request.options.get("systemd") or "true").lower()
    if mode not in ("true", "false", "always"):
        fail("--systemd", mode, "true, false or always")
    program = words[2] if words[0] == process.INIT else words[0]
    wanted = mode == "always" or (
        mode == "true" and (program in _SYSTEMD or program.rpartition("/")[2] == "systemd")
    )
    if wanted and not host.cgroup_writable:
        why = "systemd needs a cgroup of its own, and this user cannot give it one"
        if mode == "always":
            fail("--systemd", mode, why, "rl doctor shows why, under limits")
        warnings.append(why)
    return wanted


def _life(request, image, spaces, systemd):
    """What the engine and the monitor do with the container."""
    options = request.options
    timeout = options.get("timeout")
    if timeout is not None and not 0 <= int(timeout) <= _LONGEST_TIMEOUT:
        fail("--timeout", str(timeout), "not a number of seconds")
    given = options.get("stop_signal")
    stop = _TERM
    if given is not None:
        stop = signal("--stop-signal", given)
    elif image.get("StopSignal"):
        stop = _image_signal(image["StopSignal"])
    elif systemd:
        stop = _SYSTEMD_STOP
    return {
        "init": bool(options.get("init")),
        "systemd": systemd,
        "stopSignal": stop,
        "timeout": int(timeout or 0),
        "keepGroups": process.keep_groups(request),
        "ipc": spaces.ipc,
        "privileged": bool(options.get("privileged")),
    }


def _image_signal(text):
    from rootless.engine.spec.values import BadOption

    try:
        return signal("the image's STOPSIGNAL", text)
    except BadOption:
        return _TERM  # an image's word; --stop-signal says it right


def _network(request, image, spaces, warnings):
    options = request.options
    servers, search, more = (
        tuple(options.get(name) or ()) for name in ("dns", "dns_search", "dns_option")
    )
    network.check(
        spaces.network,
        dns=bool(servers or search or more),
        mac=options.get("mac_address"),
        ip=options.get("ip"),
        ip6=options.get("ip6"),
        aliases=tuple(options.get("network_alias") or ()),
    )
    mappings, exposed = _ports(request, image, spaces.network, warnings)
    added = tuple(options.get("add_host") or ())
    if added and options.get("no_hosts"):
        fail("--add-host", added[0], "--no-hosts leaves no file to add it to")
    return {
        "network": spaces.network,
        "dns": network.parse_dns(servers, search, more),
        "hosts": None if options.get("no_hosts") else network.parse_hosts(added),
        "ports": mappings,
        "exposed": exposed,
    }


def _ports(request, image, chosen, warnings):
    """(mappings of -p and -P, exposed ports as "80/tcp")."""
    options = request.options
    given, everything = tuple(options.get("publish") or ()), bool(options.get("publish_all"))
    names = [*(image.get("ExposedPorts") or ()), *(options.get("expose") or ())]
    if not (given or names):
        return [], []
    from rootless.network import ports

    exposed = ports.parse_exposed(names)
    mappings = ports.parse(given)
    if everything:
        mappings += ports.publish_all(mappings, exposed)
    if given or everything:
        network.check(chosen, ports=True)
    if mappings and chosen["mode"] == "host":
        warnings.append(
            "-p and -P do nothing with --network host: the container's ports are the machine's"
        )
        mappings = []
    return mappings, [f"{port}/{protocol}" for port, protocol in exposed]


def _texts(space):
    """Files to make for this container: a list of {path, text, only_if}."""
    if space["ids"] is None or not space["ids"].single:
        return []
    return [{"path": f"{_APT}/90rl-one-id", "text": _APT_TEXT, "only_if": _APT}]


def _passwd(request, host, space):
    """What ``runtime.users.amended`` adds; None with --passwd=false."""
    options = request.options
    if not options.get("passwd", True):
        for name in ("hostuser", "passwd_entry", "group_entry"):
            if options.get(name):
                fail("--" + name.replace("_", "-"), "given", "--passwd=false adds no entry")
        return None
    accounts = [_host_user(name) for name in options.get("hostuser") or ()]
    if space["keep"] and space["user"]:
        from rootless.engine.spec.host import account

        mine = account(host)
        accounts.append([mine[0], *space["keep"], mine[3], mine[4]])
    templates = {
        "entry": options.get("passwd_entry"),
        "groupEntry": options.get("group_entry"),
    }
    _try_templates(templates)
    return {"accounts": accounts, **templates}


def _try_templates(templates):
    """Raise users.BadEntry now for what could never be a line."""
    if templates["entry"] is not None:
        users.passwd_entry("name", 1, 1, template=templates["entry"])
    if templates["groupEntry"] is not None:
        users.group_entry("name", 1, template=templates["groupEntry"])


def _host_user(name):
    import pwd

    number = users.number(name)
    try:
        entry = pwd.getpwnam(name) if number is None else pwd.getpwuid(number)
    except KeyError:
        fail("--hostuser", name, "this machine has no such user", "getent passwd lists them")
    gecos = entry.pw_gecos.split(",")[0]
    return [entry.pw_name, entry.pw_uid, entry.pw_gid, gecos, entry.pw_dir]


def _labels(request, image):
    """The image's labels, over them those of --label-file, over them --label."""
    options = request.options
    found = dict(image.get("Labels") or {})
    for path in options.get("label_file") or ():
        lines = [line.strip() for line in read_lines("--label-file", path)]
        entries = [line for line in lines if line and not line.startswith("#")]
        found.update(key_values("--label-file", entries))
    found.update(key_values("--label", options.get("label") or ()))
    return found
