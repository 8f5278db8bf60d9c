"""The completions, asked of the shells themselves."""

import os
import pty
import select
import subprocess
import time

import pytest

from rootless.cli import cmd_complete, cmd_completion, completions, help
from rootless.errors import RlError
from rootless.model.request import Request

# Instead of rl: what the completions ask for.
FAKE = """#!/bin/sh
case "$1 $2" in
    "__complete container") printf 'web\\nweb-old\\n' ;;
    "__complete image") printf 'debian:12\\nlocalhost:5000/mine:1\\n' ;;
    "__complete volume") echo data ;;
    "__complete any") printf 'web\\nweb-old\\ndebian:12\\ndata\\n' ;;
esac
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory with the three files, and bin/rl that knows some names."""
    real, help.is_built = help.is_built, lambda verb: verb.unavailable is None
    files = completions.files()
    help.is_built = real
    place = tmp_path_factory.mktemp("completions")
    for name, text in files.items():
        (place / name).parent.mkdir()
        (place / name).write_text(text)
    (place / "bin").mkdir()
    (place / "bin" / "rl").write_text(FAKE)
    (place / "bin" / "rl").chmod(0o755)
    (place / "here").mkdir()
    (place / "here" / "file.tar").write_text("")
    (place / "here" / "folder").mkdir()
    return place


def environ(place):
    return {
        "PATH": f"{place}/bin:{os.defpath}", "HOME": str(place), "LC_ALL": "C.UTF-8",
        "TERM": "dumb", "XDG_CONFIG_HOME": f"{place}/config", "XDG_DATA_HOME": f"{place}/data",
    }  # fmt: skip


def ask(place, *argv):
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=60,
        env=environ(place), cwd=place / "here", stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def bash(place, line):
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    done = ask(
        place, "bash", "--norc", "-c",
        f"source {place}/bash/rl\ncompopt() {{ :; }}\n"
        f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}'\n"
        "_rl\nprintf '%s\\n' \"${COMPREPLY[@]}\"",
    )  # fmt: skip
    assert not done.stderr
    return set(done.stdout.split("\n")) - {""}


def fish(place, line):
    done = ask(
        place, "fish", "--no-config", "-c",
        f"source {place}/fish/rl.fish; complete -C '{line}'",
    )  # fmt: skip
    assert not done.stderr
    return {row.split("\t")[0] for row in done.stdout.splitlines()}


# (line, some that must be offered, some that must not)
CASES = [
    ("rl r", {"run", "rm", "rename"}, {"ps"}),
    ("rl volume ", {"create", "ls", "rm"}, {"run"}),
    ("rl image ", {"ls", "rm", "exists"}, {"run"}),
    ("rl stop ", {"web", "web-old"}, {"debian:12"}),
    ("rl stop web-", {"web-old"}, {"web"}),
    ("rl container stop ", {"web"}, {"data"}),
    ("rl run ", {"debian:12"}, {"web"}),
    ("rl run --rm -e A=1 ", {"debian:12"}, {"web"}),
    ("rl volume rm ", {"data"}, {"web"}),
    ("rl inspect ", {"web", "debian:12", "data"}, set()),
    ("rl run --na", {"--name"}, {"--network"}),
    ("rl run --memo", {"--memory"}, set()),
    ("rl run --gpu", set(), {"--gpus"}),
    ("rl run --pull ", {"always", "never"}, {"debian:12"}),
    ("rl --root /x st", {"start", "stop", "stats"}, {"ps"}),
    ("rl --log-level ", {"debug", "info"}, {"run"}),
    ("rl completion ", {"bash", "fish"}, set()),
    ("rl load --input f", {"file.tar"}, {"web"}),
    ("rl build --pull a", set(), {"always"}),
    ("rl manifest ", {"create", "push", "remove", "rm"}, {"build"}),
]


@pytest.mark.parametrize(("line", "offered", "not_offered"), CASES)
@pytest.mark.parametrize("shell", [bash, fish])
def test_what_is_offered(installed, shell, line, offered, not_offered):
    found = shell(installed, line)
    assert offered <= found
    assert not not_offered & found


def test_bash_completes_the_value_behind_an_equals_sign(installed):
    assert bash(installed, "rl run --pull=al") == {"always"}
    assert bash(installed, "rl build --pull=ne") == {"never", "newer"}


ZSH = """PS1='READY> '; cd {place}/here; fpath=({place}/zsh $fpath)
autoload -U compinit; compinit -D -u; unsetopt auto_menu; unset zle_bracketed_paste; echo O''K
"""


def zsh(place, lines):
    """What stands on the line of an interactive zsh after Tab, for each of the lines."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], environ(place))
    screen, shown = Screen(terminal), []
    try:
        os.write(terminal, ZSH.format(place=place).encode())
        screen.until("OK\r\n")
        for line in lines:
            screen.until("READY> ")
            # What Tab adds is followed by a mark that is typed behind it.
            os.write(terminal, f"{line}\t@@".encode())
            shown.append(seen(screen.until("@@")))
            os.write(terminal, b"\x15\r")
        os.write(terminal, b"exit\n")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return shown


def seen(text):
    """What a line looks like after the terminal has obeyed bells and backspaces."""
    row, at = [], 0
    for char in text.replace("\x07", "").replace("\x1b[K", ""):
        if char == "\b":
            at -= 1
        else:
            row[at : at + 1] = char
            at += 1
    return "".join(row)


class Screen:
    """What a program writes to its terminal, read up to a mark."""

    def __init__(self, descriptor):
        self.descriptor, self.text = descriptor, ""

    def until(self, mark):
        end = time.monotonic() + 60
        while mark not in self.text:
            left = max(0, end - time.monotonic())
            assert select.select([self.descriptor], [], [], left)[0], self.text
            self.text += os.read(self.descriptor, 4096).decode(errors="replace")
        found, _, self.text = self.text.partition(mark)
        return found


def test_zsh(installed):
    cases = {
        "rl renam": "rl rename ",
        "rl volume crea": "rl volume create ",
        "rl rename web-": "rl rename web-old ",
        "rl volume rm d": "rl volume rm data ",
        "rl run --pidf": "rl run --pidfile=",
        "rl run --rm --pull=alw": "rl run --rm --pull=always ",
        "rl load -i fil": "rl load -i file.tar ",
        "rl build --pull=alw": "rl build --pull=always ",
        "rl build --pull fol": "rl build --pull folder/",
    }
    shown = zsh(installed, cases)
    assert shown == list(cases.values())


def test_the_files_are_what_the_verb_prints(capsys):
    for shell, name in (("bash", "bash/rl"), ("zsh", "zsh/_rl"), ("fish", "fish/rl.fish")):
        assert cmd_completion.main(None, Request("completion", {"file": None}, (shell,))) == 0
        assert capsys.readouterr().out == completions.files()[name]


def test_the_verb_writes_a_file(tmp_path):
    request = Request("completion", {"file": str(tmp_path / "rl")}, ("bash",))
    assert cmd_completion.main(None, request) == 0
    assert (tmp_path / "rl").read_text() == completions.bash()
    with pytest.raises(cmd_completion.CannotSave):
        cmd_completion.main(None, request.replace(file="/nonexistent/rl"))
    with pytest.raises(cmd_completion.UnknownShell):
        cmd_completion.main(None, request.replace(args=("tcsh",)))


def test_completing_makes_no_store(tmp_path):
    class Nowhere:
        class config:
            root = str(tmp_path / "store")

    assert cmd_complete.names(Nowhere, "any") == []
    assert not os.path.exists(tmp_path / "store")


def test_an_error_is_no_completion(monkeypatch, tmp_path):
    class Here:
        class config:
            root = str(tmp_path)

    def fails(engine):
        raise RlError("no")

    monkeypatch.setitem(cmd_complete._READERS, "any", (fails, lambda engine: ["web"]))
    assert cmd_complete.names(Here, "any") == ["web"]
    assert cmd_complete.names(Here, "nonsense") == []
