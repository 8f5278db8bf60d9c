"""Builds as people have them: packages by apt, a Python project by pip, a C program."""

import os

import pytest

from conformance import engines
from support.command import TREE, Rl

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

# All three begin so: the second and third find it in the cache.  The packages of a release
# don't change, so a clock that is wrong doesn't matter.
PACKAGES = """\
FROM localhost/debian
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -q -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false \\
        -o Acquire::Check-Date=false \\
    && apt-get install -yq --no-install-recommends -o Acquire::Retries=3 \\
        cron gcc libc6-dev python3-pip \\
    && rm -rf /var/lib/apt/lists/*
"""
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="session")
def debian(session_dir, debian_image):
    """rl with a small Debian."""
    rl = Rl(f"{session_dir}/real")
    loaded = rl.ok("load", "-q", "-i", debian_image, timeout=300).text
    rl.ok("tag", loaded.rpartition(": ")[2], "localhost/debian")
    return rl


def build(rl, directory, containerfile, files, *args):
    """Build a context of these files as the image app: what rl printed besides the id."""
    engines.write_context(directory, {"Containerfile": containerfile, **files})
    return rl.ok("build", "--progress=plain", "-t", "app", *args, directory, timeout=1000).stderr


def test_a_debian_with_packages(debian, workdir):
    context = f"{workdir}/context"
    build(debian, context, PACKAGES + 'CMD ["dpkg", "--audit"]\n', {})
    assert debian.ok("run", "--rm", "app").text == ""
    paths = ("/usr/bin/crontab", "/var/spool/cron/crontabs", "/usr/bin/gcc")
    found = debian.ok("run", "--rm", "app", "stat", "-c", "%U:%G %a %F", *paths).lines
    assert found == ["root:crontab 2755 regular file", "root:crontab 1730 directory",
                     "root:root 777 symbolic link"]  # fmt: skip
    again = debian.ok("build", "-q", "-t", "again", context).text
    assert again == debian.ok("image", "inspect", "--format", "{{.Id}}", "app").text


PROJECT = {
    "pyproject.toml": (
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "greeter"\nversion = "1.0"\ndependencies = ["six>=1.10"]\n'
        '[project.scripts]\ngreet = "greeter:main"\n'
    ),
    "greeter/__init__.py": (
        "import six\n\n\ndef main():\n    print('hello from', six.ensure_str(b'pip'))\n"
    ),
    ".dockerignore": "*\n!pyproject.toml\n!greeter\n**/__pycache__\n",
    "greeter/__pycache__/stale.pyc": "stale",
}


def test_a_python_project(debian, workdir):
    context = f"{workdir}/context"
    args = ["--secret", f"id=authorities,src={AUTHORITIES}"]
    args += [f"--build-arg={name}" for name in ("PIP_INDEX_URL",) if name in os.environ]
    containerfile = (
        PACKAGES
        + "ARG PIP_INDEX_URL\n"
        + "WORKDIR /src\n"
        + "COPY . .\n"
        + "RUN --mount=type=cache,target=/root/.cache/pip \\\n"
        + "    --mount=type=secret,id=authorities,target=/authorities,required \\\n"
        + "    pip install --break-system-packages --no-build-isolation --cert /authorities .\n"
        + "USER nobody\n"
        + 'CMD ["greet"]\n'
    )
    shown = build(debian, context, containerfile, PROJECT, *args)
    assert "CACHED" in shown or "apt-get" in shown
    assert debian.ok("run", "--rm", "app").text == "hello from pip"
    left = debian.ok("run", "--rm", "app", "ls", "/", "/src/greeter").text.split()
    assert "__init__.py" in left and "__pycache__" not in left and "authorities" not in left


def test_a_c_program_of_a_few_kilobytes(debian, workdir):
    context = f"{workdir}/context"
    sources = {}
    for name in ("cflags", "hello.c", "sys.h", "text.h"):
        with open(f"{TREE}/helpers/{name}", encoding="utf-8") as file:
            sources[name] = file.read()
    containerfile = (
        PACKAGES.replace("FROM localhost/debian", "FROM localhost/debian AS build")
        + "WORKDIR /src\n"
        + "COPY * .\n"
        + "RUN gcc $(cat cflags) $(sed -n '1s,.*cflags: \\(.*\\) .*,\\1,p' hello.c) \\\n"
        + "    -o /hello hello.c\n"
        + "FROM scratch\n"
        + "COPY --from=build /hello /\n"
        + 'ENTRYPOINT ["/hello"]\n'
    )
    build(debian, context, containerfile, sources)
    assert "rl" in debian.ok("run", "--rm", "app").text
    size = int(debian.ok("image", "inspect", "--format", "{{.Size}}", "app").text)
    assert 1000 < size < 20_000
