"""Every instruction and flag, built by rl and by buildah from the same context."""

import http.server
import os
import threading
from concurrent import futures

import pytest

from conformance import cases_copy, cases_run, cases_settings, differences, engines, tree

CASES = [*cases_settings.CASES, *cases_copy.CASES, *cases_run.CASES]
USED = set()


@pytest.fixture(scope="session")
def builders(session_dir):
    """(rl, buildah) with the same base images."""
    directory = f"{session_dir}/conformance"
    os.makedirs(directory)
    both = engines.Rl_(directory), engines.Buildah(directory)
    for name, image in engines.base_images().items():
        short = name.partition("/")[2].partition(":")[0]
        path = image.oci_archive(f"{directory}/{short}.oci", f"{short}-archive")
        for builder in both:
            builder.load(name, path)
    yield both
    both[1].remove()


class Served(str):
    """The URL of a server on loopback; ``directory`` is what it serves."""

    directory = None


@pytest.fixture(scope="session")
def served():
    """The Served of a server that runs in a thread."""

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=url.directory)

        def log_message(self, *args):
            """Nothing on the terminal."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        url = Served(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield url
        server.shutdown()


@pytest.fixture
def context(workdir, served):
    """A function that writes a case's context: its path."""

    def make(case):
        path = f"{workdir}/context"
        text = case.containerfile.removeprefix("\n").replace("@URL@", served)
        engines.write_context(path, {"Containerfile": text, **case.files})
        served.directory = path
        if case.name == "copy-xattrs":
            try:
                os.setxattr(f"{path}/f", "user.note", b"hello")
            except OSError as error:
                pytest.skip(f"no extended attributes in {workdir}: {error.strerror}")
        return path

    return make


def rows(case, what):
    """The rows of the table that explain a difference of a case."""
    return [row for row in differences.TABLE
            if row[1] == what and (row[0] is None or case.name in row[0])]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_both_build_the_same(builders, context, case):
    path = context(case)
    args = [f"{path}/{word}" if word in case.files or word == "Containerfile" else word
            for word in case.args]  # fmt: skip
    args = [word.replace("src=", f"src={path}/").replace("extra=more", f"extra={path}/more")
            for word in args]  # fmt: skip
    rl, buildah = builders
    with futures.ThreadPoolExecutor(1) as other:
        judged = None
        if not case.without_buildah:
            judged = other.submit(buildah.build, path, *args, env=case.env)
        built = rl.build(path, *args, env=case.env)
    found = tree.facts(built)
    wrong = {what: found.get(what) for what, value in case.expect.items()
             if found.get(what) != value}  # fmt: skip
    assert not wrong, f"rl built {wrong} instead of {case.expect}"
    if judged is None:
        assert case.expect, "a case that buildah can't judge says what is expected"
        return
    unexplained = []
    for what, ours, theirs in tree.differences(built, judged.result()):
        explained = rows(case, what)
        USED.update(explained)
        if not explained and case.differs.get(what, [()])[0] != ours:
            unexplained.append(f"{what}:\n  rl      {ours}\n  buildah {theirs}")
    assert not unexplained, "\n".join(unexplained)


def test_names_of_cases_differ():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_every_instruction_has_a_case():
    text = "\n".join(case.containerfile.upper() for case in CASES)
    for keyword in ("FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "LABEL", "WORKDIR", "USER",
                    "EXPOSE", "VOLUME", "ENTRYPOINT", "CMD", "SHELL", "STOPSIGNAL",
                    "HEALTHCHECK", "ONBUILD", "MAINTAINER"):  # fmt: skip
        assert f"\n{keyword} " in text, keyword


def test_every_difference_is_still_there(request, builders):
    if not builders[1].version.startswith(differences.VERSION):
        pytest.skip(f"the table is about buildah {differences.VERSION}")
    if request.config.getoption("keyword") or len(request.session.items) < len(CASES):
        pytest.skip("only some cases were run")
    stale = [row for row in differences.TABLE if row not in USED]
    assert not stale
