"""[containers] and [network] of the settings, as defaults of run and create."""

import pytest

from rootless import config
from rootless.cli import options
from rootless.engine.defaults import with_defaults
from rootless.model.request import Request


class Settings:
    """The two attributes of a Config that matter here."""

    def __init__(self, network=None, **containers):
        self.network = network
        self.containers = containers


def request(*given, **typed):
    fill = {"env": (), "init": False, "userns": None, "network": (), **typed}
    return Request("run", fill, ("image",), frozenset(given))


def test_nothing_set_changes_nothing():
    typed = request()
    assert with_defaults(Settings(), typed) is typed


def test_what_was_typed_wins():
    settings = Settings("none", userns="keep-id", init=True)
    found = with_defaults(settings, request("userns", userns="host"))
    assert (found.userns, found.init, found.network) == ("host", True, ("none",))
    found = with_defaults(settings, request("network", "init", network=("host",), init=False))
    assert (found.userns, found.init, found.network) == ("keep-id", False, ("host",))


def test_lists_add_up_and_what_was_typed_comes_last():
    found = with_defaults(Settings(env=("A=1", "B=1")), request("env", env=("B=2",)))
    assert found.env == ("A=1", "B=1", "B=2")
    assert found.given == frozenset(["env"])


@pytest.mark.parametrize("verb", ["run", "create"])
def test_every_key_is_an_option_of_the_right_kind(verb):
    defaults = options.find(verb).defaults
    for key, (name, kind, _, _, _) in config.KEYS.items():
        if key.startswith("containers."):
            assert name in defaults, key
            assert isinstance(defaults[name], tuple) == (kind == "list"), key
            assert isinstance(defaults[name], bool) == (kind == "bool"), key
