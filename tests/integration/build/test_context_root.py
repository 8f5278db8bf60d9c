"""Contexts with files of somebody else: what can't be read is named, never left out."""

import os

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.as_root]


@pytest.mark.parametrize("name", ["rl-test", "rl-test-one"])
def test_unreadable_files_are_named(user_rl, workdir, name):
    rl = user_rl(name)
    context = f"{workdir}/context"
    os.makedirs(f"{context}/dir/locked")
    for path in ("Containerfile", "dir/secret", "dir/locked/x"):
        with open(f"{context}/{path}", "w", encoding="utf-8") as file:
            file.write("FROM scratch\nCOPY dir /x\n")
    os.chmod(f"{context}/dir/secret", 0o600)
    rl.fails("build", context, says="cannot read 'dir/secret' of the build context: Permission")
    os.chmod(f"{context}/dir/secret", 0o644)
    os.chmod(f"{context}/dir/locked", 0o700)
    rl.fails("build", context, says="cannot read 'dir/locked' of the build context: Permission")
    with open(f"{context}/.containerignore", "w", encoding="utf-8") as file:
        file.write("dir/locked\n")
    rl.ok("build", "-q", context)
