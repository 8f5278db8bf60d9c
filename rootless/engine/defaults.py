"""Defaults of run and create that the settings change: [containers] and [network] of rl.toml."""

# Options about cgroups: who gives none of them has no use for engine/cgroups.py at a create.
LIMITS = (
    "memory", "memory_reservation", "memory_swap", "memory_swappiness", "oom_kill_disable",
    "cpus", "cpu_shares", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime",
    "cpuset_cpus", "cpuset_mems", "pids_limit", "blkio_weight", "blkio_weight_device",
    "device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops",
    "cgroup_conf", "cgroups", "cgroup_parent",
)  # fmt: skip


def with_defaults(config, request):
    """``request`` with what the settings say where nothing was typed.

    Lists of the settings come before what was typed; other values give way to it.
    """
    if not config.containers and config.network is None:
        return request
    changes = {}
    for name, value in config.containers.items():
        if isinstance(value, tuple):
            changes[name] = (*value, *request.options[name])
        elif name not in request.given:
            changes[name] = value
    if config.network is not None and "network" not in request.given:
        changes["network"] = (config.network,)
    return request.replace(**changes)
