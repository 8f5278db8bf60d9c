"""The options that limit what a container may use: of run, create and update."""

from rootless.cli.options.table import flag, many, number, value

_GROUP = "Limits"


def LIMITS(group=_GROUP):
    """What a running container's limits can be changed with, too."""
    return (
        value("-m --memory", "SIZE", "Memory at most, for example 512m", group=group),
        value("--memory-reservation", "SIZE", "Memory that is left to it when others want some",
              group=group),
        value("--memory-swap", "SIZE",
              "Memory and swap together at most; -1: any (default: twice --memory)", group=group),
        number("--memory-swappiness", "N", "Of cgroups version 1 only: an error here, but for -1",
               least=None, group=group),
        value("--cpus", "N", "Processors at most, for example 1.5", group=group),
        number("-c --cpu-shares", "N", "Share of a processor that all want (default: 1024)",
               group=group),
        number("--cpu-period", "MICROSECONDS", "Period that --cpu-quota counts for", group=group),
        number("--cpu-quota", "MICROSECONDS", "Processor time in each period; -1: any",
               least=None, group=group),
        number("--cpu-rt-period", "MICROSECONDS", "Of cgroups version 1 only: an error here",
               group=group),
        number("--cpu-rt-runtime", "MICROSECONDS", "Of cgroups version 1 only: an error here",
               group=group),
        value("--cpuset-cpus", "LIST", "Processors it may run on, for example 0-3,8",
              group=group),
        value("--cpuset-mems", "LIST", "Memory nodes it may use", group=group),
        number("--pids-limit", "N", "Processes and threads at most; -1: any", least=None,
               group=group),
        number("--blkio-weight", "N", "Share of disks that all want, from 10 to 1000",
               group=group),
        many("--blkio-weight-device", "DEVICE:N", "The same for one disk", group=group),
        many("--device-read-bps", "DEVICE:RATE", "Bytes a second read from a disk at most",
             group=group),
        many("--device-write-bps", "DEVICE:RATE", "Bytes a second written to a disk at most",
             group=group),
        many("--device-read-iops", "DEVICE:N", "Reads a second from a disk at most", group=group),
        many("--device-write-iops", "DEVICE:N", "Writes a second to a disk at most", group=group),
    )  # fmt: skip


def CGROUPS(group=_GROUP):
    """What is settled when a container is made."""
    return (
        *LIMITS(group),
        flag("--oom-kill-disable", "Of cgroups version 1 only: an error here", group=group),
        many("--cgroup-conf", "FILE=VALUE", "Write to a file of its cgroup, such as memory.high",
             group=group),
        value("--cgroups", "MODE",
              "enabled, disabled, no-conmon (the monitor stays where rl is), split (below the"
              " cgroup of rl itself)",
              choices=("enabled", "disabled", "no-conmon", "split"), group=group),
        many("--storage-opt", "size=SIZE",
             "Bytes that the container may add and change in its root: in memory with --rm, else"
             " in a file, which takes fuse2fs", group=group),
        value("--cgroup-parent", "NAME", "Slice of systemd, or cgroup below this one, to be in",
              group=group),
    )  # fmt: skip
