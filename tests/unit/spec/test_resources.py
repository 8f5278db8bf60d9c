"""Limits, from options to OCI resources."""

import pytest

from rootless.engine.spec import resources
from rootless.engine.spec.values import BadOption


def device(option, path):
    return (8, len(path))


@pytest.mark.parametrize(("options", "says"), [
    ({"memory": "lots"}, "not a size"),
    ({"memory": "1mbb"}, "not a size"),
    ({"memory": "99999999t"}, "more than any machine"),
    ({"memory": "100k"}, "no program runs"),
    ({"memory_swap": "1g"}, "needs --memory"),
    ({"memory": "2g", "memory_swap": "1g"}, "less than --memory"),
    ({"memory": "64m", "memory_reservation": "128m"}, "more than --memory"),
    ({"memory_swappiness": 0}, "no swappiness"),
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
    ({"cpuset_cpus": "0-\u0663"}, "not a list"),
    ({"cpuset_cpus": "0,"}, "not a list"),
    ({"cpuset_cpus": "a"}, "not a list"),
    ({"pids_limit": -2}, "not a number from -1"),
    ({"blkio_weight": 1001}, "not a number from 10"),
    ({"device_read_bps": ("/dev/a",)}, "not a device and a value"),
    ({"device_read_bps": ("dev/a:1m",)}, "not a device and a value"),
    ({"device_read_bps": ("/dev/a:fast",)}, "not a size"),
    ({"device_read_bps": ("/dev/a:-1",)}, "not a size"),
    ({"blkio_weight_device": ("/dev/a:5",)}, "not a number from 10"),
    ({"device_read_iops": ("/dev/a:1m",)}, "not a number"),
    ({"cgroup_conf": ("memory.high=",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("memory.high=\n5",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("memory.high=\udcff",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("memory.high",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("a/b.c=1",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("..=1",)}, "not FILE=VALUE"),
    ({"cgroup_conf": ("cgroup.kill=1",)}, "rl's own"),
])  # fmt: skip
def test_what_is_refused(options, says):
    with pytest.raises(BadOption) as error:
        resources.parse(options, device)
    assert says in error.value.message


def test_an_update_keeps_the_rest():
    before = resources.parse({"memory": "1g", "memory_swap": "3g", "pids_limit": 5}, device)
    after = resources.parse({"cpus": "2"}, device, before)
    assert after["memory"] == before["memory"] and after["pids"] == {"limit": 5}
    assert resources.parse({"memory": "0"}, device, {"memory": {"limit": 5}}) == {}
    smaller = resources.parse({"memory": "512m"}, device, before)
    assert smaller["memory"] == {"limit": 512 << 20}
    assert before["memory"]["limit"] == 1 << 30, "what it was made of is as it was"


def test_an_update_is_held_against_what_is_kept():
    before = resources.parse({"memory": "1g", "memory_reservation": "512m"}, device)
    with pytest.raises(BadOption, match="--memory-reservation"):
        resources.parse({"memory": "256m"}, device, before)
    swap = resources.parse({"memory": "1g", "memory_swap": "3g"}, device)
    assert resources.parse({"memory": "0"}, device, swap) == {}, "the two went together"
    with pytest.raises(BadOption, match="needs --memory"):
        resources.parse({"memory": "0", "memory_swap": "1g"}, device, swap)


def test_disks_are_changed_one_by_one():
    before = resources.parse({"device_read_bps": ("/dev/a:1", "/dev/bb:2")}, device)
    after = resources.parse({"device_read_bps": ("/dev/a:0",)}, device, before)
    assert after == {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 7, "rate": 2}]}}
    assert len(before["blockIO"]["throttleReadBpsDevice"]) == 2


def test_numbers_of_a_list():
    assert resources.numbers("0-2,8") == {0, 1, 2, 8}
    assert resources.numbers("") is None
