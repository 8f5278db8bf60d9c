"""From options to OCI resources to files."""

import pytest

from rootless.cgroup import limits
from rootless.engine.spec import resources


def device(option, path):
    return (8, len(path))


def files(**options):
    """file → texts of what these options lead to."""
    found = {}
    for one in limits.settings(resources.parse(options, device)):
        found.setdefault(one.file, []).extend(one.texts)
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"memory": "512m"}, {"memory.max": [str(512 << 20)], "memory.swap.max": [str(512 << 20)]}),
        (
            {"memory": "1g", "memory_swap": "1g"},
            {"memory.max": [str(1 << 30)], "memory.swap.max": ["0"]},
        ),
        (
            {"memory": "1g", "memory_swap": "-1"},
            {"memory.max": [str(1 << 30)], "memory.swap.max": ["max"]},
        ),
        ({"memory": "0"}, {}),
        ({"memory": "-1"}, {}),
        ({"memory_reservation": "64m"}, {"memory.low": [str(64 << 20)]}),
        ({"memory_swappiness": -1}, {}),
        ({"cpus": "1.5"}, {"cpu.max": ["150000 100000"]}),
        ({"cpus": "0"}, {}),
        ({"cpu_quota": 50000}, {"cpu.max": ["50000 100000"]}),
        ({"cpu_quota": -1, "cpu_period": 50000}, {"cpu.max": ["max 50000"]}),
        ({"cpu_shares": 1024}, {"cpu.weight": ["100"]}),
        ({"cpu_shares": 2}, {"cpu.weight": ["1"]}),
        ({"cpu_shares": 2000}, {"cpu.weight": ["170"]}),  # as runc 1.4 and crun 1.23 have it
        ({"cpu_shares": 0, "blkio_weight": 0, "cpu_quota": 0, "cpu_period": 0}, {}),
        ({"cpu_rt_period": 0, "cpu_rt_runtime": 0, "oom_kill_disable": False}, {}),
        ({"memory_swap": "-1"}, {"memory.swap.max": ["max"]}),
        ({"device_read_bps": ("/dev/a:0",)}, {}),
        ({"device_read_bps": ("/dev/a:1", "/dev/a:2")}, {"io.max": ["8:6 rbps=2"]}),
        ({"memory": "1g", "cgroup_conf": ("memory.swap.max=0",)},
         {"memory.max": [str(1 << 30)], "memory.swap.max": ["0"]}),
        ({"cpu_shares": 262144}, {"cpu.weight": ["10000"]}),
        (
            {"cpuset_cpus": "0-3,8", "cpuset_mems": "0"},
            {"cpuset.cpus": ["0-3,8"], "cpuset.mems": ["0"]},
        ),
        ({"pids_limit": 100}, {"pids.max": ["100"]}),
        ({"pids_limit": -1}, {"pids.max": ["max"]}),
        ({"pids_limit": 0}, {"pids.max": ["max"]}),
        ({"blkio_weight": 10}, {"io.weight": ["default 1"]}),
        (
            {"blkio_weight": 1000, "blkio_weight_device": ("/dev/a:10",)},
            {"io.weight": ["default 10000", "8:6 1"]},
        ),
        (
            {"device_read_bps": ("/dev/a:1mb", "/dev/bb:2k")},
            {"io.max": ["8:6 rbps=1048576", "8:7 rbps=2048"]},
        ),
        ({"device_write_iops": ("/dev/a:100",)}, {"io.max": ["8:6 wiops=100"]}),
        (
            {"cgroup_conf": ("memory.high=5", "pids.max=7")},
            {"memory.high": ["5"], "pids.max": ["7"]},
        ),
    ],
)
def test_files(options, expected):
    assert files(**options) == expected


def test_swap_that_nobody_asked_for_may_fail():
    found = {
        one.file: one.implied
        for one in limits.settings(resources.parse({"memory": "1g"}, device))
    }
    assert found == {"memory.max": False, "memory.swap.max": True}


def changes(before, **options):
    """[(file, texts, implied)] of an update from ``before`` (options) on."""
    old = resources.parse(before, device)
    new = resources.parse(options, device, old)
    return [(one.file, *one.texts) for one in
            limits.difference(limits.settings(old), limits.settings(new))]  # fmt: skip


@pytest.mark.parametrize(("before", "options", "expected"), [
    ({"memory": "1g"}, {"memory": "1g"}, []),
    ({"memory": "1g"}, {"memory": "0"}, [("memory.max", "max"), ("memory.swap.max", "max")]),
    ({"memory": "1g", "memory_swap": "2g"}, {"memory": "0"},
     [("memory.max", "max"), ("memory.swap.max", "max")]),
    ({"memory": "1g"}, {"memory_swap": "1g"}, [("memory.swap.max", "0")]),
    ({"memory": "1g", "memory_swap": "1g"}, {"memory_swap": "0"},
     [("memory.swap.max", str(1 << 30))]),
    ({"memory_reservation": "1g"}, {"memory_reservation": "0"}, [("memory.low", "0")]),
    ({"cpus": "2"}, {"cpus": "0"}, [("cpu.max", "max 100000")]),
    ({"cpu_quota": 5000, "cpu_period": 10000}, {"cpu_quota": 0}, [("cpu.max", "max 10000")]),
    ({"cpu_shares": 5}, {"cpu_shares": 0}, [("cpu.weight", "100")]),
    ({"cpuset_cpus": "1"}, {"cpuset_cpus": ""}, [("cpuset.cpus", "")]),
    ({"pids_limit": 9}, {"pids_limit": 0}, [("pids.max", "max")]),
    ({}, {"pids_limit": -1}, [("pids.max", "max")]),
    ({"blkio_weight": 10}, {"blkio_weight": 0}, [("io.weight", "default 100")]),
    ({"blkio_weight_device": ("/dev/a:10",)}, {"blkio_weight_device": ("/dev/a:0",)},
     [("io.weight", "8:6 default")]),
    ({"device_read_bps": ("/dev/a:1", "/dev/bb:2"), "device_write_iops": ("/dev/a:7",)},
     {"device_read_bps": ("/dev/a:0",)}, [("io.max", "8:6 rbps=max")]),
    ({"device_read_bps": ("/dev/a:1",)}, {"device_write_bps": ("/dev/bb:3",)},
     [("io.max", "8:7 wbps=3")]),
    ({"cgroup_conf": ("memory.high=5",)}, {"cpus": "1"}, [("cpu.max", "100000 100000")]),
])  # fmt: skip
def test_an_update_writes_what_changes(before, options, expected):
    assert changes(before, **options) == expected


@pytest.mark.parametrize(("options", "option"), [
    ({"memory": "1g", "cgroup_conf": ("memory.max=5",)}, "--memory"),
    ({"pids_limit": 5, "cgroup_conf": ("memory.max=5",)}, None),
    ({"memory": "1g", "cgroup_conf": ("memory.swap.max=0",)}, None),
])  # fmt: skip
def test_what_is_asked_for_twice(options, option):
    assert limits.twice(limits.settings(resources.parse(options, device))) == option


@pytest.mark.parametrize(("options", "option"), [
    ({"cpus": "1"}, "--cpus"), ({"cpu_quota": 5000}, "--cpu-quota"),
    ({"cpu_period": 5000}, "--cpu-period"),
    ({"cpu_quota": 5000, "cpu_period": 5000}, "--cpu-quota"),
])  # fmt: skip
def test_the_option_that_asked_is_named(options, option):
    (setting,) = limits.settings(resources.parse(options, device))
    assert setting.option == option
