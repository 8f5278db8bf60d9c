"""A store of its own for every test, in both rungs of the id ladder, on every driver."""

import itertools

import pytest

from support import layers


@pytest.fixture(params=layers.rungs())
def rung(request):
    return request.param


@pytest.fixture
def store(workdir, rung):
    opened = layers.fresh_store(f"{workdir}/store", rung)
    yield opened
    opened.close()


@pytest.fixture
def container(store, workdir, driver):
    """A function that makes a container over layers (Archives or diff ids), bottom first."""
    numbers = itertools.count()

    def make(*stack, **how):
        ids = [one if isinstance(one, str) else layers.put(store, one) for one in stack]
        path = f"{workdir}/container{next(numbers)}"
        return layers.Container(store, path, driver, ids, **how)

    return make
