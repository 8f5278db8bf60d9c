"""From options to OCI resources to files."""

import pytest

from rootless.cgroup import limits


def device(option, path):
    return (8, len(path))


def files(**options):
    """file → texts of what these options lead to."""
    found = limits.settings(limits.parse(options, device))
    return {one.file: list(one.texts) for one in found}


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
        ({"cpu_shares": 1024}, {"cpu.weight": ["39"]}),
        ({"cpu_shares": 2}, {"cpu.weight": ["1"]}),
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


@pytest.mark.parametrize(("options", "says"), [
    ({"memory": "lots"}, "not a size"),
    ({"memory": "1mbb"}, "not a size"),
    ({"memory": "99999999t"}, "more than any machine"),
    ({"memory": "100k"}, "no program runs"),
    ({"memory_swap": "1g"}, "needs --memory"),
    ({"memory": "2g", "memory_swap": "1g"}, "less than --memory"),
    ({"memory": "64m", "memory_reservation": "128m"}, "more than --memory"),
    ({"memory_swappiness": 60}, "no swappiness"),
    ({"oom_kill_disable": True}, "cannot keep the kernel"),
    ({"cpu_rt_period": 1}, "real-time"),
    ({"cpus": "two"}, "not a number of processors"),
    ({"cpus": "0.001"}, "less than the kernel"),
        ({"cpus": "0.000001"}, "less than the kernel"),
    ({"cpus": "1", "cpu_period": 1000}, "sets the same"),
    ({"cpu_period": 10}, "not a number from 1000"),
    ({"cpu_quota": 10}, "not a number from 1000"),
    ({"cpu_shares": 1}, "not a number from 2"),
    ({"cpuset_cpus": "3-1"}, "not a list"),
    ({"cpuset_cpus": "a"}, "not a list"),
    ({"pids_limit": -2}, "not a number from -1"),
    ({"blkio_weight": 1001}, "not a number from 10"),
    ({"device_read_bps": ("/dev/a",)}, "not a device and a value"),
    ({"device_read_bps": ("dev/a:1m",)}, "not a device and a value"),
    ({"device_read_bps": ("/dev/a:0",)}, "not a rate"),
    ({"device_read_iops": ("/dev/a:1m",)}, "not a number"),
    ({"cgroup_conf": ("memory.high",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("a/b.c=1",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("..=1",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("cgroup.kill=1",)}, "rl's own"),
])  # fmt: skip
def test_what_is_refused(options, says):
    with pytest.raises(limits.BadLimit) as error:
        limits.parse(options, device)
    assert says in error.value.message


def test_swap_that_nobody_asked_for_may_fail():
    found = {
        one.file: one.implied for one in limits.settings(limits.parse({"memory": "1g"}, device))
    }
    assert found == {"memory.max": False, "memory.swap.max": True}


def test_an_update_keeps_the_rest():
    before = limits.parse({"memory": "1g", "memory_swap": "3g", "pids_limit": 5}, device)
    after = limits.parse({"cpus": "2"}, device, before)
    assert after["memory"] == before["memory"] and after["pids"] == {"limit": 5}
    assert limits.parse({"memory": "0"}, device, {"memory": {"limit": 5}}) == {}
    smaller = limits.parse({"memory": "512m"}, device, before)
    assert smaller["memory"] == {"limit": 512 << 20}
    assert before["memory"]["limit"] == 1 << 30, "what it was made of is as it was"
