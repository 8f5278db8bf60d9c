"""Request: frozen, and an attribute for each option."""

import pytest

from rootless.model.request import Request

REQUEST = Request("run", {"rm": True, "env": ("A=1",)}, ["x", "y"], {"rm"})


def test_options_are_attributes():
    assert REQUEST.rm is True and REQUEST.env == ("A=1",)
    assert REQUEST.args == ("x", "y") and REQUEST.given == frozenset({"rm"})
    with pytest.raises(AttributeError, match="run has no option 'nope'"):
        REQUEST.nope  # noqa: B018


@pytest.mark.parametrize("name", ["rm", "args", "verb"])
def test_it_is_frozen(name):
    with pytest.raises(AttributeError):
        setattr(REQUEST, name, 1)
    with pytest.raises(AttributeError):
        delattr(REQUEST, name)


def test_replace_keeps_the_rest():
    other = REQUEST.replace(rm=False)
    assert other.rm is False and other.env == ("A=1",) and other.given == REQUEST.given
    assert REQUEST.rm is True and REQUEST != other
    assert REQUEST.replace(args=("z",)).args == ("z",)
