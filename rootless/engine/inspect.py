"""``rl inspect``: everything about a container, in podman's shape (podman-inspect(1))."""

from rootless.engine import records
from rootless.errors import RlError
from rootless.model import jsontext
from rootless.store.images import AmbiguousImage, NoSuchImage

_NEVER = "0001-01-01T00:00:00Z"
_STATUS = {"lost": "exited", "initialized": "initialized", "stopping": "stopping",
           "restarting": "restarting"}


class NoSuchObject(RlError):
    """no such object: {0!r}"""

    hint = "rl ps -a, rl images, rl volume ls and rl network ls show what there is"


def inspect(engine, request):
    """What is known of the things a request names: a list of dicts, one of (name, error)."""
    kind = request.type or "all"
    if request.latest:
        from rootless.engine import lifecycle

        return [container(engine, record) for record in lifecycle.select(engine, request)], []
    found, failed = [], []
    for name in request.args:
        try:
            found.append(_one(engine, name, kind, request.size))
        except RlError as error:
            failed.append((name, error))
    return found, failed


def _one(engine, name, kind, size):
    if kind in ("all", "container"):
        try:
            return container(engine, records.find(engine, name), size)
        except records.NoContainer:
            if kind == "container":
                raise
    if kind in ("all", "image"):
        from rootless.engine import images_list

        try:
            return images_list.inspect(engine, name)
        except (NoSuchImage, AmbiguousImage):
            if kind == "image":
                raise
    if kind in ("all", "volume"):
        from rootless.engine import volumes

        try:
            return volumes.facts(engine, volumes.find(engine, name))
        except (volumes.NoVolume, volumes.VolumeName):
            if kind == "volume":
                raise
    from rootless.engine import networks, networks_list

    try:
        return networks_list.facts(engine, networks.find(engine, name))
    except networks.NoNetwork:
        if kind == "network":
            raise
    raise NoSuchObject(name)


def container(engine, record, size=False):
    """All about one container, as a dict."""
    spec = records.load_spec(engine, record["id"])
    state = records.state(engine, record)
    process = spec["process"]
    found = {
        "Id": record["id"],
        "Created": record["created"],
        "Path": process["args"][0],
        "Args": process["args"][1:],
        "State": _state(engine, record, spec, state),
        "Image": record["image"] or "",
        "ImageDigest": record["image_digest"] or "",
        "ImageName": record["image_name"] or "",
        "Rootfs": record["rootfs"] or "",
        "Pod": "",
        **_paths(engine, record),
        "Name": record["name"],
        "RestartCount": record.get("restarts", 0),
        "LogPath": _log_path(engine, record),
        "Driver": record.get("driver") or "",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "EffectiveCaps": process["capabilities"]["effective"],
        "BoundingCaps": process["capabilities"]["bounding"],
        "ExecIDs": [],
        "GraphDriver": {"Name": record.get("driver") or "", "Data": {}},
        "Mounts": [_mount(engine, entry) for entry in record["mounts"]],
        "Dependencies": record["requires"],
        "NetworkSettings": _network(engine, record, state),
        "Namespace": "",
        "IsInfra": False,
        "IsService": False,
        "Config": _config(record, spec),
        "HostConfig": _host_config(engine, record, spec, state),
        "Rl": {"IdRung": record["rung"], "OwnersFaked": record["rung"] == "single",
               "Seccomp": spec["rl"]["seccomp"], "Warnings": spec["rl"]["warnings"],
               "Limits": _limits(engine, record, spec)},
    }
    if size:
        from rootless.engine import listing

        row = listing.describe(engine, record)
        listing.add_sizes(engine, [row])
        found["SizeRw"], found["SizeRootFs"] = row["Size"], row["RootFsSize"]
    return found


def _state(engine, record, spec, state):
    ended = state["exit"] or {}
    status = state["status"]
    code = ended.get("code")
    found = {
        "OciVersion": spec["ociVersion"],
        "Status": _STATUS.get(status, status),
        "Running": status in ("running", "paused", "stopping"),
        "Paused": status == "paused",
        "Restarting": bool(ended.get("restart")) and state["alive"],
        "OOMKilled": bool(ended.get("oom")),
        "Dead": False,
        "Pid": state["pid"],
        "ExitCode": -1 if "reason" in ended else code or 0,
        "Error": _error(ended, status),
        "StartedAt": state["started"] or _NEVER,
        "FinishedAt": ended.get("finished") or _NEVER,
        "CgroupPath": _cgroup(engine, record) if state["pid"] else "",
        "CheckpointedAt": _NEVER,
        "RestoredAt": _NEVER,
    }
    if record.get("health"):
        known = records.read_json(f"{records.run_directory(engine, record['id'])}/health")
        found["Health"] = known or {"Status": "starting", "FailingStreak": 0, "Log": []}
    return found


def _cgroup(engine, record):
    """The container's cgroup, as a path from the root of the hierarchy."""
    from rootless.engine import cgroups

    return (cgroups.of(engine, record) or "").removeprefix("/sys/fs/cgroup")


def _limits(engine, record, spec):
    found = []
    if spec["linux"].get("resources"):
        from rootless.engine import enforced

        found = enforced.report(engine, record, spec)
    if record.get("capped"):
        from rootless.engine import capped

        found.append(capped.report(engine, record))
    return found


def _error(ended, status):
    if status == "lost":
        return "its monitor was killed: the exit code is unknown"
    if ended.get("reason") == "boot":
        return "it ended with the machine's last boot: the exit code is unknown"
    error = ended.get("error") or ""
    if error.startswith("{"):  # what a launch said before it failed, as the monitor got it
        try:
            error = jsontext.loads(error)["text"]
        except (ValueError, KeyError, TypeError):
            pass
    return error


def _paths(engine, record):
    base = f"{records.directory(engine, record['id'])}/files"
    return {
        "ResolvConfPath": f"{base}/resolv.conf",
        "HostnamePath": f"{base}/hostname",
        "HostsPath": f"{base}/hosts",
        "StaticDir": records.directory(engine, record["id"]),
        "OCIConfigPath": f"{records.directory(engine, record['id'])}/spec.json",
        "PidFile": record["pidfile"] or "",
    }


def _mount(engine, entry):
    shown = {
        "Type": entry["Type"],
        "Source": entry["Source"],
        "Destination": entry["Destination"],
        "Driver": "",
        "Mode": "",
        "Options": [word for word in entry["Options"] if word in _SHOWN],
        "RW": entry["RW"],
        "Propagation": next((w for w in entry["Options"] if w in _PROPAGATION), ""),
    }
    if entry["Type"] == "volume":
        from rootless.engine import volumes

        shown = {"Type": "volume", "Name": entry["Name"], **shown}
        shown["Source"] = f"{volumes.directory(engine)}/{entry['Name']}/_data"
        shown["Driver"] = "local"
    return shown


_PROPAGATION = ("rprivate", "private", "rslave", "slave", "rshared", "shared")
_SHOWN = ("nosuid", "nodev", "noexec", "suid", "dev", "exec", "rbind", "bind")


def _network(engine, record, state):
    mode = record["network"]["parsed"]["mode"]
    ports = {}
    if record.get("ports") or record.get("exposed"):
        from rootless.engine import publish

        mappings = publish.shown(engine, record, bool(state["pid"]))
        ports = publish.by_port(mappings, record["exposed"])
    found = {"EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
             "GlobalIPv6Address": "", "MacAddress": record["network"].get("mac") or "",
             "Bridge": "", "SandboxID": "", "HairpinMode": False, "LinkLocalIPv6Address": "",
             "Ports": ports, "SandboxKey": "", "Networks": {mode: {}}}
    if mode == "networks":
        from rootless.engine import networks_list

        found["Networks"] = networks_list.settings(engine, record)
        if state["pid"]:
            found["SandboxKey"] = f"/proc/{state['pid']}/ns/net"
    return found


def _config(record, spec):
    process, own = spec["process"], spec["rl"]
    found = {
        "Hostname": own["hostname"],
        "Domainname": "",
        "User": process["user"].get("username") or "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": record["tty"],
        "OpenStdin": record["stdin_open"],
        "StdinOnce": False,
        "Env": process["env"],
        "Cmd": record["command"],
        "Image": record["image_name"] or "",
        "Volumes": None,
        "WorkingDir": process["cwd"],
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": record["labels"],
        "Annotations": spec["annotations"],
        "StopSignal": own["stopSignal"],
        "CreateCommand": ["rl", record["options"]["verb"], *record["options"]["args"]],
        "Umask": f"{process['user'].get('umask', 0o22):04o}",
        "Timeout": record["timeout"],
        "StopTimeout": record["stop_timeout"],
        "Passwd": bool(own["passwd"]),
    }
    if record.get("exposed"):
        found["ExposedPorts"] = {port: {} for port in record["exposed"]}
    if record.get("health"):
        from rootless.engine import health

        found["Healthcheck"] = health.shown(record["health"])
    return found


def _log_path(engine, record):
    if record["log"]["driver"] not in ("k8s-file", "json-file"):
        return ""
    return record["log"].get("path") or f"{records.directory(engine, record['id'])}/ctr.log"


def _host_config(engine, record, spec, state):
    own, linux = spec["rl"], spec["linux"]
    given = record["options"]["given"]
    policy, _, most = (record.get("restart") or "").partition(":")
    kinds = {entry["type"] for entry in linux["namespaces"]}
    return {
        "Binds": list(given.get("volume") or ()),
        "CgroupMode": "private" if "cgroup" in kinds else "host",
        "LogConfig": {"Type": record["log"]["driver"], "Config": None,
                      "Path": _log_path(engine, record),
                      "Tag": record["log"].get("tag") or "",
                      "Size": str(record["log"].get("max_size") or "0B")},
        "NetworkMode": _mode(record),
        "PortBindings": _bindings(record),
        "NetworkRate": _rate(record),
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(most or 0)},
        "AutoRemove": record["remove"],
        "Annotations": spec["annotations"],
        "VolumesFrom": list(given.get("volumes_from") or ()) or None,
        "CapAdd": list(given.get("cap_add") or ()),
        "CapDrop": list(given.get("cap_drop") or ()),
        "Dns": list(given.get("dns") or ()),
        "DnsOptions": list(given.get("dns_option") or ()),
        "DnsSearch": list(given.get("dns_search") or ()),
        "ExtraHosts": list(given.get("add_host") or ()),
        "GroupAdd": list(given.get("group_add") or ()),
        "IpcMode": own["ipc"],
        "Init": own["init"],
        "OomScoreAdj": spec["process"].get("oomScoreAdj") or 0,
        "PidMode": "private" if "pid" in kinds else "host",
        "Privileged": own["privileged"],
        "PublishAllPorts": bool(given.get("publish_all")),
        "ReadonlyRootfs": spec["root"]["readonly"],
        "SecurityOpt": list(given.get("security_opt") or ()),
        "StorageOpt": {"size": record["capped"]["asked"]} if record.get("capped") else None,
        "Tmpfs": {entry["destination"]: ",".join(entry["options"])
                  for entry in spec["mounts"] if entry["type"] == "tmpfs"
                  and entry["destination"] not in ("/dev", "/dev/shm")},
        **_resources(engine, record, spec, state),
        "UTSMode": "private" if "uts" in kinds else "host",
        "UsernsMode": given.get("userns") or "",
        "IDMappings": _mappings(linux),
        "ShmSize": _shm_size(spec),
        "Runtime": "rl",
        "Ulimits": [{"Name": limit["type"], "Soft": limit["soft"], "Hard": limit["hard"]}
                    for limit in spec["process"]["rlimits"]],
    }


def _rate(record):
    if not record["network"].get("rate"):
        return None
    from rootless.engine import rate

    return rate.shown(record)


def _bindings(record):
    if not record.get("ports"):
        return {}
    from rootless.engine import publish

    return publish.by_port(record["ports"])


def _resources(engine, record, spec, state):
    """Limits by podman's names; 0 where nothing was asked."""
    resources = spec["linux"].get("resources") or {}
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    block = resources.get("blockIO") or {}
    limit = memory.get("limit", 0)
    pids = (resources.get("pids") or {}).get("limit", 0)
    chosen = spec["rl"].get("cgroups") or {}
    mode = chosen.get("mode") or "enabled"
    if not pids and state["pid"]:
        from rootless.engine import enforced

        pids = enforced.pids(engine, record)
    return {
        "Cgroups": "default" if mode == "enabled" else mode,  # podman's word
        "CgroupParent": chosen.get("parent") or "",
        "Memory": limit,
        "MemoryReservation": memory.get("reservation", 0),
        "MemorySwap": memory.get("swap", 2 * limit),
        "MemorySwappiness": -1,
        "OomKillDisable": False,
        "CpuShares": cpu.get("shares", 0),
        "CpuPeriod": cpu.get("period", 0),
        "CpuQuota": cpu.get("quota", 0),
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "NanoCpus": round(cpu["quota"] * 1e9 / cpu["period"])
        if cpu.get("quota", 0) > 0 and cpu.get("period")
        else 0,
        "CpusetCpus": cpu.get("cpus", ""),
        "CpusetMems": cpu.get("mems", ""),
        "PidsLimit": pids,
        "BlkioWeight": block.get("weight", 0),
        "BlkioWeightDevice": _disks(block.get("weightDevice"), "weight"),
        "BlkioDeviceReadBps": _disks(block.get("throttleReadBpsDevice"), "rate"),
        "BlkioDeviceWriteBps": _disks(block.get("throttleWriteBpsDevice"), "rate"),
        "BlkioDeviceReadIOps": _disks(block.get("throttleReadIOPSDevice"), "rate"),
        "BlkioDeviceWriteIOps": _disks(block.get("throttleWriteIOPSDevice"), "rate"),
        "CgroupConf": resources.get("unified"),
    }


def _disks(rows, word):
    if not rows:
        return None
    from rootless.engine import enforced

    return [{"Path": enforced.disk(row["major"], row["minor"]), word.title(): row[word]}
            for row in rows]


def _mode(record):
    mode = record["network"]["parsed"]["mode"]
    return "bridge" if mode == "networks" else mode


def _mappings(linux):
    return {
        shown: [f"{row['containerID']}:{row['hostID']}:{row['size']}" for row in linux.get(key, ())]
        for shown, key in (("UidMap", "uidMappings"), ("GidMap", "gidMappings"))
    }


def _shm_size(spec):
    for entry in spec["mounts"]:
        if entry["destination"] == "/dev/shm":
            for word in entry["options"]:
                if word.startswith("size="):
                    return int(word[5:])
    return 0


