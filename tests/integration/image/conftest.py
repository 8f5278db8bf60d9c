"""What the tests of images share."""

import pytest

from support.podman import Podman


@pytest.fixture
def podman(workdir, rl):
    """podman; what its pause process holds ends with the test."""
    found = Podman(workdir)
    yield found
    found("system", "migrate")
