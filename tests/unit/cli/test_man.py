"""The man pages: complete, right by the table, and without a complaint of man itself."""

import importlib.util
import os
import subprocess

import pytest

from rootless.cli import help, options
from support.command import TREE

MAN = os.path.join(TREE, "man")
SHOWN = [name for name in options.names() if not options.find(name).hidden]


@pytest.fixture(scope="module")
def build():
    """man/build.py, with every verb of the table taken as built."""
    spec = importlib.util.spec_from_file_location("man_build", f"{MAN}/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    real, help.is_built = help.is_built, lambda verb: verb.unavailable is None
    yield module
    help.is_built = real


@pytest.fixture(scope="module")
def pages(build):
    return build.pages()


def file_of(name):
    return f"rl-{name.replace(' ', '-')}"


def test_there_is_a_page_for_each_verb_and_no_other_text(pages):
    for name in SHOWN:
        assert f"{file_of(name)}.1" in pages
    texts = {name[:-3] for name in os.listdir(MAN) if name.endswith(".md")}
    assert texts == {"rl", *(file_of(name) for name in SHOWN)}


def listed(page):
    """The options that a page lists: the lines after .TP, without fonts and values."""
    found = set()
    lines = page.replace("\\fB", "").replace("\\fP", "").replace("\\-", "-").split("\n")
    for tag, line in zip(lines, lines[1:], strict=False):
        if tag == ".TP" and line.startswith("-"):
            words = line.partition("\\fI")[0]
            found.update(word.strip(" =[") for word in words.split(","))
    return found


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_lists_the_options_of_the_table(pages, name):
    rows = [row for row in options.find(name).options if row.unavailable is None]
    wanted = {spelling for row in rows for spelling in row.names}
    assert listed(pages[f"{file_of(name)}.1"]) == wanted


def test_the_page_of_rl_lists_the_global_options(pages):
    wanted = {n for row in (*options.GLOBALS, options.VERSION) for n in row.names}
    assert listed(pages["rl.1"]) == wanted | {"-h", "--help"}


def test_references_lead_to_pages(pages):
    for name, page in pages.items():
        text = page.replace("\\-", "-").replace("\\fB", "").replace("\\fP", "")
        for word in text.replace(",", " ").split():
            if word.startswith(("rl-", "rl(")) and word.rstrip(".;").endswith("(1)"):
                assert word.rstrip(".;")[:-3] + ".1" in pages, f"{name}: {word}"


def test_man_has_no_complaint(pages, tmp_path):
    for name, page in pages.items():
        (tmp_path / name).write_text(page)
    done = subprocess.run(
        ["man", "--warnings=w", "-E", "UTF-8", "-l", *(str(tmp_path / name) for name in pages)],
        capture_output=True, check=False,
        env={"PATH": os.defpath, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    shown = " ".join(done.stdout.decode().split())
    for name in SHOWN:
        assert f"{file_of(name)} - " in shown
    # What is to be typed comes out as it is typed.
    assert """rl run --entrypoint '["/bin/sh", "-c"]' debian 'echo $HOME'""" in shown


def write(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# DESCRIPTION\n\nx\n\n## --nope\n\nmore\n", "rl rename has no --nope"),
        ("# NOTES\n\nx\n", "there is no # DESCRIPTION"),
        ("x\n# DESCRIPTION\n", "text before the first # SECTION"),
        ("# DESCRIPTION\n\nsome `code\n", "` is not closed"),
    ],
)
def test_wrong_texts_are_refused(build, tmp_path, text, message):
    with pytest.raises(build.PageError, match=message):
        build.verb_page(options.find("rename"), write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a-b `c-d` **e** *f-g*", r"a-b \fBc\-d\fP \fBe\fP \fIf-g\fP"),
        (".x", r"\&.x"),
        ("'x", r"\&'x"),
        (r"a\b", r"a\eb"),
        ("`'~^`", r"\fB\(aq\(ti\(ha\fP"),
        ("é", r"\[u00E9]"),
        ("`a``b`", r"\fBa\fP\fBb\fP"),
    ],
)
def test_inline(build, text, wanted):
    assert build.inline(text) == wanted


def test_blocks(build, tmp_path):
    text = "# A\n\none\ntwo\n\n- x\n  y\n- z\n\n    code\n\n    .more\n\nend\n"
    sections, extra = build.read(write(tmp_path, text))
    assert extra == {}
    assert build.body(sections["A"]) == [
        "one two", r".IP \[u2022] 2", "x y", r".IP \[u2022] 2", "z",
        ".PP", ".RS 4", ".nf", "code", "", r"\&.more", ".fi", ".RE", ".PP", "end",
    ]  # fmt: skip


def test_the_program(build, tmp_path):
    build.main(["build.py", str(tmp_path / "pages"), str(tmp_path / "completions")])
    assert os.path.exists(tmp_path / "pages" / "rl-run.1")
    for name in ("bash/rl", "zsh/_rl", "fish/rl.fish"):
        assert os.path.exists(tmp_path / "completions" / name)
    with pytest.raises(SystemExit, match="usage"):
        build.main(["build.py"])
