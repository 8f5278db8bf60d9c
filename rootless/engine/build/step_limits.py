"""Limits of RUN steps: each step of a build that has some gets a cgroup of its own.

A build without limits knows nothing of cgroups, and doesn't load what does.
"""

OPTIONS = ("memory", "memory_swap", "cpu_shares", "cpu_period", "cpu_quota", "cpuset_cpus",
           "cpuset_mems", "cgroup_parent")  # fmt: skip


def plan(engine, options):
    """(resources, parent) that hold for every step of a build, or None if it has no limits.

    ``options``: engine.build.options.Options.  Raises what engine.cgroups.plan does: nobody
    waits for an image to hear that a limit can't be had here.
    """
    given = {name: getattr(options, name) for name in OPTIONS}
    if all(value is None for value in given.values()):
        return None
    from rootless.engine import cgroups

    resources, settings = cgroups.plan(engine, given)
    # To take a limit away (--memory 0) is to have none.
    return (resources, settings["parent"]) if resources or settings["parent"] else None


def group(engine, step):
    """The cgroup.group.Group of a RunStep; None for none."""
    if step.limits is None:
        return None
    from rootless.engine import cgroups

    return cgroups.of_step(engine, *step.limits)
