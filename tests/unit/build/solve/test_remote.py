"""Steps that come from elsewhere, and steps that go into the image itself."""

import pytest

from rootless.build.solve.state import State
from rootless.engine.build import remote_cache
from rootless.engine.build.build import Built
from rootless.model.oci import Platform

GOOD = {"parent": "", "text": "RUN x", "created": "2026-01-02T03:04:05Z", "made": 5, "layer": None}


def test_a_record_is_taken_field_by_field():
    found = remote_cache._checked({**GOOD, "more": 1}, {})
    assert found == GOOD
    assert remote_cache._checked({**GOOD, "layer": "sha256:x"}, {"sha256:x": {}})["layer"]


@pytest.mark.parametrize("created", ["2026-01-02T03:04:05.123456789Z", "1970-01-01T00:00:00Z",
                                     "2026-12-31T23:59:59.999999999Z"])  # fmt: skip
def test_times_as_rl_writes_them(created):
    assert remote_cache._checked({**GOOD, "created": created}, {})["created"] == created


@pytest.mark.parametrize("change", [
    {"created": ""}, {"created": "now"}, {"created": "2026-01-02"}, {"created": 7},
    {"created": "2026-13-02T03:04:05Z"}, {"created": "2026-02-30T03:04:05Z"},
    {"created": "2026-01-02T24:04:05Z"}, {"created": "2026-01-02T03:04:05"},
    {"created": "2026-01-02T03:04:05+01:00"}, {"created": "2026-01-02T03:04:05.Z"},
    {"created": "2026-01-02T03:04:05.1234567890Z"}, {"created": "2026-01-02T03:04:05.\u0661Z"},
    {"created": "2026-01-02T03:04:05Z\n"}, {"created": "2026-01-02 03:04:05Z"},
    {"created": "+026-01-02T03:04:05Z"}, {"created": "1969-12-31T23:59:59Z"},
    {"made": float("nan")}, {"made": float("inf")}, {"made": -1}, {"made": "5"}, {"made": 1 << 70},
    {"layer": "sha256:other"}, {"layer": []}, {"text": None}, {"parent": 1},
])  # fmt: skip
def test_what_is_not_taken(change):
    assert remote_cache._checked({**GOOD, **change}, {"sha256:x": {}}) is None


def layer(name):
    return {"diff_id": name, "size": 1, "blob": name, "blob_size": 1, "compression": ""}


def built():
    """A build of two stages whose result has one layer of its own."""
    state = State(Platform("linux", "amd64"), key="c")
    state.layers = [layer("base"), layer("two")]
    met = {
        "other": {**GOOD, "parent": "", "layer": layer("elsewhere")},
        "a": {**GOOD, "parent": "base", "layer": layer("merged")},
        "b": {**GOOD, "parent": "a", "layer": layer("two")},
        "c": {**GOOD, "parent": "b", "layer": None},
    }
    return Built(state.platform, state, met)


def test_steps_in_the_image():
    found = remote_cache.inline(built(), None)[remote_cache.FIELD]
    assert set(found["records"]) == {"b", "c"}, "of its own stage, and with layers that it has"
    assert found["records"]["b"]["layer"] == "two" and found["records"]["b"]["made"] == 5
    later = remote_cache.inline(built(), 77)[remote_cache.FIELD]["records"]
    assert {record["made"] for record in later.values()} == {77}
    empty = built()
    empty.state.key = "nothing was done"
    assert remote_cache.inline(empty, None) == {}
