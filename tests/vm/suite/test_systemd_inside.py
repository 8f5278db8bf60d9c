"""systemd as pid 1 of a container, with nobody's rights outside."""

import pytest

from support.limited import until

IMAGE = "localhost/init:latest"


@pytest.fixture(scope="module")
def bootable(stocked):
    """An image of the machine's own systemd (guest/customize.sh)."""
    stocked.ok("import", "--change", 'CMD ["/sbin/init"]', "/opt/init.tar", IMAGE, timeout=600)


@pytest.mark.halves("delegate", "subtree")
@pytest.mark.timeout(600)
def test_it_boots(here, bootable):
    here.ok("run", "-d", "--name", "machine", "--systemd", "true", "--network", "none",
            "--pids-limit", "200", IMAGE, timeout=300)  # fmt: skip
    asked = ("exec", "machine", "systemctl")

    def booted():
        said = here(*asked, "is-system-running", timeout=120).stdout.strip()
        return said if said in ("running", "degraded") else None

    state = until(booted, "the end of booting", patience=300)
    failed = here(*asked, "list-units", "--failed", "--no-legend", timeout=60).stdout
    assert state == "running", failed
    assert here.ok("exec", "machine", "cat", "/proc/1/comm", timeout=60).text == "systemd"
    # It divides what it was given, and the limits on the whole stay.
    here.ok("exec", "machine", "systemd-run", "--unit", "probe", "-p", "TasksMax=17",
            "sleep", "1000", timeout=60)  # fmt: skip
    assert here.kernel("machine", "system.slice/probe.service/pids.max") == "17"
    assert here.kernel("machine", "pids.max") == "200"
    # Its stop signal is the one that systemd shuts down for, not SIGTERM.
    here.ok("stop", "--time", "120", "machine", timeout=200)
    facts = here.facts("machine")
    assert facts["State"]["Status"] == "exited" and facts["Config"]["StopSignal"] == 37
    assert facts["State"]["ExitCode"] != 137, "it was killed"
