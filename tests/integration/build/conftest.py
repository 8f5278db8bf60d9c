"""For the tests of copying: a store in both rungs, a context, and a function that copies."""

import os

import pytest

from rootless.build.copy import apply, plan, sources
from rootless.build.language import ignore
from support import layers
from support.made import OLD, Made


@pytest.fixture(params=layers.rungs())
def rung(request):
    return request.param


@pytest.fixture
def store(workdir, rung):
    opened = layers.fresh_store(f"{workdir}/store", rung)
    yield opened
    opened.tmp.release()
    assert os.listdir(opened.path("tmp")) == []
    opened.close()


@pytest.fixture
def context(workdir):
    """A function that makes a file of the context; ``context.path`` is its directory."""

    def make(path, content=b"", mode=0o644):
        full = f"{workdir}/context/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content or path.encode())
        os.chmod(full, mode)
        os.utime(full, (OLD, OLD))
        return full

    make.path = f"{workdir}/context"
    os.mkdir(make.path)
    return make


@pytest.fixture
def copy(store, context):
    """A function that copies patterns of the context and gives the Made layer."""

    def run(*patterns, dest="/", base=(), ignored=None, times=None, **how):
        found = [
            one if not isinstance(one, str)
            else sources.Tree(context.path, one, ignored and ignore.read(ignored))
            for one in patterns
        ]  # fmt: skip
        step = plan.CopyStep(found, dest, store.layers.paths(base), **how)
        return Made(store, apply.apply(store, step, times))

    return run
