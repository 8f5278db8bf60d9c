"""Arithmetic on id maps, against a model that looks at every id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.model import idmap
from rootless.model.idmap import Ids, Range
from rootless.runtime import staging

STORE = idmap.stack(1000, [(100000, 50), (300000, 20)])


def table(ranges):
    """inside → outside, id by id."""
    return {inside + n: outside + n for inside, outside, count in ranges for n in range(count)}


@st.composite
def maps(draw):
    """A map whose insides and outsides don't overlap."""
    ranges, inside, outside = [], 0, 0
    for _ in range(draw(st.integers(0, 5))):
        inside += draw(st.integers(0, 3))
        outside += draw(st.integers(0, 5))
        count = draw(st.integers(1, 6))
        ranges.append((inside, outside, count))
        inside, outside = inside + count, outside + count
    starts = draw(st.permutations([outside for _, outside, _ in ranges]))
    spread = {start: 40 * number for number, start in enumerate(starts)}
    return tuple(Range(inside, outside + spread[outside], count)
                 for inside, outside, count in ranges)


def test_stack():
    assert STORE == ((0, 1000, 1), (1, 100000, 50), (51, 300000, 20))
    assert idmap.total(STORE) == 71
    assert idmap.text(STORE) == "0 1000 1\n1 100000 50\n51 300000 20\n"


@given(maps(), st.integers(0, 300))
def test_look_ups(ranges, number):
    known = table(ranges)
    assert idmap.to_outside(ranges, number) == known.get(number)
    back = {outside: inside for inside, outside in known.items()}
    assert idmap.to_inside(ranges, number) == back.get(number)


@given(maps(), maps())
def test_relative(ranges, around):
    """Going out by one step and by two ends at the same id."""
    found = idmap.relative(ranges, around)
    outside, between = table(ranges), table(around)
    assert {inside: between[middle] for inside, middle in table(found).items()} == {
        inside: end for inside, end in outside.items() if end in between.values()
    }
    assert list(found) == sorted(found)


@given(maps(), maps())
def test_shift(container, store):
    pieces = idmap.shift(container, store)
    inner, own = table(container), {outside: inside for inside, outside in table(store).items()}
    wanted = {inside: own[outside] for inside, outside in inner.items() if outside in own}
    if all(one == other for one, other in wanted.items()):
        assert pieces == ()
    else:
        assert table(pieces) == wanted


@pytest.mark.parametrize("at", [0, 1, 7, 50, 51, 60, 70, 71, 5000])
def test_keep(at):
    """The user is ``at``; the others are all there once, in order."""
    found = table(idmap.keep(STORE, at))
    assert found[at] == 1000
    others = [outside for inside, outside in sorted(found.items()) if inside != at]
    assert others == [*range(100000, 100050), *range(300000, 300020)]


def test_where_two_namespaces_are_needed():
    ids = Ids(STORE, STORE, "range")
    assert not staging.needed(ids, 1000, 1000)
    assert not staging.needed(Ids(idmap.keep(STORE, 33), STORE, "range"), 1000, 1000)
    assert staging.needed(Ids(STORE[1:], STORE, "range"), 1000, 1000)
    assert staging.needed(Ids(STORE, STORE[1:], "range"), 1000, 1000)


def test_the_inner_of_two_namespaces():
    inner = Ids([Range(0, 100010, 30)], [Range(5, 300000, 20)], "range", programs={"a": "b"})
    found = staging.below(inner, Ids(STORE, STORE, "range"))
    assert found.uids == ((0, 11, 30),) and found.gids == ((5, 51, 20),)
    assert found.direct and found.rung == "range"
