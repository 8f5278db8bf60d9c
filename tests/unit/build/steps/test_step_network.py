"""What steps can't have is an error before anything is done."""

import pytest

from rootless.build.steps.run import Settings
from rootless.engine.build import step_network
from rootless.engine.build.options import Options
from rootless.errors import RlError
from rootless.kernel import userns


class Config:
    network = None


class Engine:
    config = Config()
    ids = userns.single_ids()


def test_without_options_nothing_is_looked_at():
    step_network.check(None, Options())


@pytest.mark.parametrize("options", [
    {"network": "none"}, {"network": "host"}, {"network": "private"}, {"network": "bridge"},
    {"network": "default"}, {"network": "pasta:-4"}, {"network": "slirp4netns"},
    {"dns": ["none"]}, {"dns": ["192.0.2.1"], "dns_search": ["example"]},
    {"add_host": ["a:192.0.2.1"]}, {"cap_add": ["all"]}, {"ulimit": ["nofile=1:2"]},
    {"shm_size": "1m"}, {"volume": ["/tmp:/x:ro"]}, {"no_hosts": True},
])  # fmt: skip
def test_what_steps_can_have(options):
    step_network.check(Engine, Options(**options))


@pytest.mark.parametrize(("options", "says"), [
    ({"network": "frontend"}, "--network frontend"), ({"network": "container:x"}, "--network"),
    ({"network": "ns:/run/x"}, "--network"), ({"network": "none:x"}, "--network"),
    ({"dns": ["x"]}, "--dns"), ({"dns": ["none", "192.0.2.1"]}, "--dns"),
    ({"dns_option": ["a b"]}, "--dns-option"), ({"add_host": ["x"]}, "--add-host"),
    ({"cap_add": ["FLY"]}, "FLY"), ({"ulimit": ["x=1"]}, "--ulimit"),
    ({"shm_size": "x"}, "--shm-size"), ({"volume": ["data:/x"]}, "data:/x"),
    ({"device": ["/dev/absent"]}, "/dev/absent"), ({"security_opt": ["x"]}, "--security-opt"),
    ({"pid": "host"}, "--pid"), ({"userns": "auto"}, "--userns"),
])  # fmt: skip
def test_what_steps_cannot_have(options, says):
    with pytest.raises(RlError) as caught:
        step_network.check(Engine, Options(**options))
    assert says in caught.value.message and caught.value.advice


@pytest.mark.parametrize(("configured", "given", "mode"), [
    (None, None, "private"), ("pasta", None, "pasta"), ("none", None, "none"),
    ("frontend", None, "private"), ("frontend", "host", "host"), ("pasta", "bridge", "private"),
])  # fmt: skip
def test_the_network_of_the_settings(configured, given, mode):
    class Configured:
        class config:
            network = configured

    assert step_network._default(Configured, Settings(network=given)) == mode
