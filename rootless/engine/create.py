"""``rl create``, and the first half of ``rl run``: from a Request to a container on disk."""

import os

from rootless.engine import assemble, events, records
from rootless.engine.defaults import LIMITS, with_defaults
from rootless.engine.spec import process
from rootless.engine.spec.host import gather
from rootless.engine.spec.spec import make_spec
from rootless.errors import RlError

_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv")
_ADJECTIVES = (
    "able agile amber apt bold brave brisk calm clear clever cosy crisp deft eager early fair fast "
    "fine fond free fresh glad golden grand happy honest jolly keen kind light lively lucky merry "
    "mild neat nimble noble patient plain polite proud quick quiet rapid ready ripe sharp silent "
    "smart smooth snug solid steady still sunny swift tidy true warm wise witty"
).split()
_NOUNS = (
    "anchor badger bay beacon beetle birch bridge brook cedar clover comet coral crane dune eagle "
    "elm falcon fern finch fjord fox garden glade grove harbor hare hawk hazel heron hill island "
    "ivy juniper kestrel lagoon lake lark lily linden lynx maple marten meadow moss oak orchard "
    "otter owl pebble pine plover pond poplar quail raven reef ridge river robin rowan sparrow "
    "spruce stork swallow thistle tide trout valley willow wren"
).split()


class Incompatible(RlError):
    """{0} and {1} cannot be used together"""

    hint = "leave one of the two out"


def create(engine, request, progress=None, durable=False, before=None):
    """Make the container that a run or create request describes; its record.

    ``progress`` makes what a pull reports to (cli.progress); ``durable`` waits until the
    container would survive a power cut; ``before`` is called with the record when nobody
    can see the container yet.
    """
    ids = _lock_ids(engine, request.options)
    try:
        return _create(engine, request, progress, durable, before)
    finally:
        if ids is not None:
            os.close(ids)


def _create(engine, request, progress, durable, before):
    container_id = records.new_id()
    request = with_defaults(engine.config, request)
    options = request.options
    if options.get("rm") and options.get("restart") not in (None, "no"):
        raise Incompatible("--rm", "--restart")
    if options.get("name"):
        records.check_name(options["name"])
    _check_words(options)
    limited = _limits(engine, options)  # before any image is fetched
    size = _layer_size(engine, options)
    image = _image(engine, request, progress)
    host = gather(
        engine.ids,
        engine.config.environ,
        container=container_id,
        files=_file_sources(request),
        used=_used_ids(engine, options),
        find=lambda name: records.find_id(engine, name),
        cgroup_writable=_owns_cgroup(engine, options),
    )
    spec = make_spec(request, image["config"], host, lambda name: _mounts_of(engine, name))
    if "networks" in spec["rl"]["network"]:
        _on_networks(engine, options, spec["rl"]["network"]["networks"])
    spec["linux"]["resources"], spec["rl"]["cgroups"] = limited
    _warn(spec)
    record = _record(engine, request, container_id, image, spec)
    _settle_driver(engine, record, spec, size)
    if options.get("replace") and options.get("name"):
        _replace(engine, options["name"])
    draft = records.begin(engine, container_id)
    try:
        record["name"] = _take_name(engine, options.get("name"), container_id)
        if before:
            before(record)
        if size:
            size.make(engine, record, draft)
        records.create(engine, record, spec, draft)
        if request.verb == "create":  # a run comes to them at once
            _make_volumes(engine, record)
        if options.get("cidfile"):
            from rootless.engine import lifecycle

            lifecycle.write_id(options["cidfile"], container_id)
    except BaseException:
        _forget(engine, record)
        raise
    finally:
        os.close(draft)
    for other in record["requires"]:
        records.note_need(engine, other, container_id)
    events.container(engine, record, "create")
    if durable:
        records.make_durable(engine, container_id)
    return record


def _check_words(options):
    """Refuse what is wrong with some options before anything is done."""
    if options.get("oom_score_adj") is not None:
        process.wanted_oom_score(options)
    if options.get("cidfile"):
        from rootless.engine import lifecycle

        lifecycle.check_free(options["cidfile"])
    if options.get("restart"):
        from rootless.engine import lifecycle

        lifecycle.check_policy(options["restart"])


def _limits(engine, options):
    """What engine.cgroups.plan makes of the limits that were given."""
    if all(value is None or value is False or value == () for value in map(options.get, LIMITS)):
        return {}, None
    from rootless.engine import cgroups

    return cgroups.plan(engine, options)


def _layer_size(engine, options):
    """An engine.capped.Plan of what --storage-opt says; None where it wasn't given."""
    if not options.get("storage_opt"):
        return None
    from rootless.engine import capped

    return capped.Plan(engine, options)


def _settle_driver(engine, record, spec, size):
    if size:
        size.settle(engine, record, spec)
    elif not record["rootfs"]:
        # Now, because to replace a record makes ext4 write it to the disk at once.
        record["driver"] = assemble.driver_of_new(engine, spec)


def _owns_cgroup(engine, options):
    """Whether the container gets a cgroup that it may divide, as systemd wants it."""
    if options.get("cgroups") == "disabled" or not os.path.exists(
        "/sys/fs/cgroup/cgroup.controllers"
    ):
        return False
    from rootless.engine import cgroups

    return cgroups.where(engine).kind != "none"


def _on_networks(engine, options, entries):
    """The networks that --network names must be there; other options are about them too."""
    from rootless.engine import networks

    for entry in entries:
        entry["name"] = networks.find(engine, entry["name"])["name"]
        entry["aliases"] += options.get("network_alias") or ()
    first = entries[0]
    first["ips"] += [text for text in (options.get("ip"), options.get("ip6")) if text]
    first["mac"] = options.get("mac_address") or first["mac"]


def _forget(engine, record):
    from rootless.engine.remove import forget

    forget(engine, record)


def _warn(spec):
    import sys

    for text in spec["rl"]["warnings"]:
        sys.stderr.write(f"Warning: {text}\n")


# --- the image -----------------------------------------------------------------------------


def _image(engine, request, progress):
    """What the container's root comes from: a dict with id, name, digest, layers, config."""
    name = request.args[0]
    if request.options.get("rootfs"):
        path, _, word = name.partition(":")
        path = os.path.abspath(path)
        if word not in ("", "O") or not os.path.isdir(path):
            raise RlError(f"--rootfs {name}: it is not a directory",
                          hint="name a root directory, or DIR:O to leave it unchanged")
        return {"id": None, "name": "", "digest": None, "layers": [], "config": {},
                "rootfs": path, "rootfs_overlay": word == "O"}
    from rootless.engine import images

    options = request.options
    found = images.resolve(
        engine,
        name,
        pull=options.get("pull"),
        platform=options.get("platform"),
        architecture=options.get("arch"),
        system=options.get("os"),
        variant=options.get("variant"),
        progress=progress,
        authfile=options.get("authfile"),
        # Only if it was typed: else what registries.toml says counts.
        tls_verify=options["tls_verify"] if "tls_verify" in request.given else None,
    )
    config = images.configuration(engine, found).get("config") or {}
    return {"id": found["id"], "name": _shown_name(engine, name, found),
            "digest": found["manifest"], "layers": found["layers"], "config": config,
            "rootfs": None, "rootfs_overlay": False}


def _shown_name(engine, typed, found):
    """The image's name in full if it has one, else what was typed."""
    names = engine.store.images.names(found["id"])
    if typed in names or not names:
        return typed
    tail = typed if ":" in typed.rpartition("/")[2] else f"{typed}:latest"
    fitting = [name for name in names if name == tail or name.endswith(f"/{tail}")]
    return fitting[0] if fitting else typed


# --- the record ----------------------------------------------------------------------------


def _file_sources(request):
    sources = {path: records.FILES + path.rpartition("/")[2] for path in _FILES}
    if request.options.get("no_hosts"):
        del sources["/etc/hosts"]
    if request.options.get("no_hostname"):
        del sources["/etc/hostname"]
    if tuple(request.options.get("dns") or ()) == ("none",):
        del sources["/etc/resolv.conf"]
    return sources


def _lock_ids(engine, options):
    """Held from looking for free ids until they are in a record; None if none are looked for."""
    if not (options.get("userns") or "").startswith("auto"):
        return None
    from rootless.kernel import files

    names = f"{engine.config.root}/names"
    os.makedirs(names, 0o700, exist_ok=True)
    descriptor = os.open(names, files.DIRECTORY)
    files.lock(descriptor)
    return descriptor


def _used_ids(engine, options):
    """The outside ids of other --userns auto containers, so that each gets its own."""
    if not (options.get("userns") or "").startswith("auto"):
        return ()
    used = []
    for record in records.everything(engine):
        for start, count in record.get("auto_ids", ()):
            used.append((start, count))
    return used


def _mounts_of(engine, name):
    """What --volumes-from takes over from another container."""
    return records.load_spec(engine, records.find_id(engine, name))["rl"]["volumes"]


def _record(engine, request, container_id, image, spec):
    own, options = spec["rl"], request.options
    _name_volumes(spec)
    names = [entry["source"] for entry in spec["mounts"] if entry["type"] == "volume"]
    anonymous = [entry["source"] for entry in spec["mounts"] if entry.get("anonymous")]
    arguments = spec["process"]["args"]
    record = {
        "version": records.VERSION,
        "id": container_id,
        "name": "",
        "created": events.now(),
        "image": image["id"],
        "image_name": image["name"] or image["rootfs"],
        "image_digest": image["digest"],
        "layers": image["layers"],
        "rootfs": image["rootfs"],
        "rootfs_overlay": image["rootfs_overlay"],
        "command": arguments[2:] if own["init"] else arguments,
        "labels": own["labels"],
        "hostname": own["hostname"],
        "tty": bool(options.get("tty")),
        "stdin_open": bool(options.get("interactive")),
        "init": own["init"],
        "remove": bool(options.get("rm")),
        "stop_signal": own["stopSignal"],
        "stop_timeout": _stop_timeout(engine, options),
        "timeout": own["timeout"],
        "keep_groups": own["keepGroups"],
        "log": _log(engine, options),
        "restart": None if options.get("restart") in (None, "no") else options["restart"],
        "health": _health(options, image["config"]),
        "volumes": list(dict.fromkeys(names)),
        "anonymous_volumes": anonymous,
        "mounts": [_shown_mount(entry) for entry in own["volumes"]],
        "network": _network(own, options),
        "ports": own["ports"],
        "exposed": own["exposed"],
        "networks": [entry["name"] for entry in own["network"].get("networks", ())]
        or [own["network"]["mode"]],
        "requires": [records.find_id(engine, name) for name in options.get("requires") or ()],
        "rung": engine.ids.rung,
        "boot": records.boot() if request.verb == "run" else None,
        "pidfile": os.path.abspath(options["pidfile"]) if options.get("pidfile") else None,
        "options": _typed(request),
    }
    if (options.get("userns") or "").startswith("auto"):
        record["auto_ids"] = [[entry["hostID"], entry["size"]]
                              for entry in spec["linux"]["uidMappings"]]
    return record


def _typed(request):
    """What was typed, for inspect: the options that were given, the image, the command."""
    given = {name: request.options[name] for name in sorted(request.given)
             if name not in ("env", "env_file")}
    return {"verb": request.verb, "given": given, "args": list(request.args)}


def _name_volumes(spec):
    """Give every volume that has no name one, the same in the mounts and in rl.volumes."""
    for entry in spec["mounts"]:
        if entry["type"] == "volume" and not entry["source"]:
            entry["source"] = os.urandom(32).hex()
            for shared in spec["rl"]["volumes"]:
                if shared["destination"] == entry["destination"]:
                    shared["source"] = entry["source"]


def _make_volumes(engine, record):
    """The volumes of the container exist from now on: whoever made it may fill them."""
    from rootless.engine import volumes

    anonymous = set(record["anonymous_volumes"])
    for name in record["volumes"]:
        try:
            volumes.make(engine, name, anonymous=name in anonymous)
        except volumes.VolumeExists:
            pass


def _shown_mount(entry):
    shown = {"Type": entry["type"], "Source": entry["source"],
             "Destination": entry["destination"], "Options": entry["options"],
             "RW": "ro" not in entry["options"]}
    if entry["type"] == "volume":
        shown["Name"] = entry["source"]
    return shown


def _stop_timeout(engine, options):
    given = options.get("stop_timeout")
    return engine.config.stop_timeout if given is None else given


def _network(own, options):
    return {
        "parsed": own["network"],
        "dns": own["dns"],
        "added_hosts": own["hosts"] or [],
        "no_hosts": own["hosts"] is None,
        "hosts_file": _hosts_file(options),
        "mac": options.get("mac_address"),
        "rate": _rate(own, options),
    }


def _hosts_file(options):
    """What /etc/hosts begins with: an absolute path, "none", "image", None for the host's."""
    given = options.get("hosts_file")
    if given in (None, "", "none", "image"):
        return given or None
    path = os.path.abspath(given)
    if not os.access(path, os.R_OK) or os.path.isdir(path):
        raise RlError(f"--hosts-file {given}: there is no such file that you may read",
                      hint="name a file like /etc/hosts, or image, or none")
    return path


def _rate(own, options):
    if options.get("network_rate") is None:
        return None
    from rootless.engine import rate

    return rate.check(own["network"], options["network_rate"], own["ports"])


def _log(engine, options):
    from rootless.engine.logconfig import log_settings

    return log_settings(engine, options)


def _health(options, config):
    if options.get("no_healthcheck"):
        return None
    wanted = any(name.startswith("health_") and options[name] is not None
                 for name in options) or config.get("Healthcheck")
    if not wanted:
        return None
    from rootless.engine.health import settings

    return settings(options, config.get("Healthcheck"))


# --- names ---------------------------------------------------------------------------------


def _replace(engine, name):
    from rootless.engine.remove import remove

    holder = records.name_holder(engine, name)
    if holder:
        try:
            remove(engine, records.load(engine, holder), force=True)
        except records.NoContainer:
            pass


def _take_name(engine, name, container_id):
    if name:
        try:
            records.reserve_name(engine, name, container_id)
        except records.NameTaken:
            from rootless.engine.remove import sweep

            sweep(engine)  # its holder may be what a killed rl left of a --rm container
            records.reserve_name(engine, name, container_id)
        return name
    while True:
        pick = int.from_bytes(os.urandom(4), "little")
        pair, rest = divmod(pick, 1000)
        noun = _NOUNS[pair % len(_NOUNS)]
        name = f"{_ADJECTIVES[pair // len(_NOUNS) % len(_ADJECTIVES)]}_{noun}"
        try:
            records.reserve_name(engine, name, container_id)
            return name
        except records.NameTaken:
            try:
                records.reserve_name(engine, f"{name}{rest}", container_id)
                return f"{name}{rest}"
            except records.NameTaken:
                continue
