"""Settings: what wins over what, what is refused and in which words, and what it loads."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

import rootless
from rootless import config

UID = os.geteuid()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory, and an /etc/rl of its own."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setattr(config, "ETC", str(tmp_path / "etc"))
    monkeypatch.setattr(config, "_SETTLED", -1)  # a test doesn't wait until files are old
    return tmp_path


def environ(home, **more):
    return {"HOME": str(home / "home"), "XDG_RUNTIME_DIR": str(home / "run"), **more}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def own(home, text):
    return write(home / "home/.config/rl/rl.toml", text)


def test_defaults(home):
    found = config.load({}, environ(home))
    assert found.root == f"{home}/home/.local/share/rl"
    assert found.runroot == f"{home}/run/rl"
    assert found.pull_policy == "missing"
    assert found.stop_timeout == 10
    assert found.containers == {} and found.sources == {}


def test_each_source_wins_over_the_one_before(home):
    write(home / "etc/rl.toml", '[network]\ndefault = "a"\n[engine]\nstop_timeout = 3\n')
    env = environ(home)
    assert config.load({}, env).network == "a"
    own(home, '[network]\ndefault = "b"\n')
    found = config.load({}, env)
    assert (found.network, found.stop_timeout) == ("b", 3)
    assert found.sources["network"].endswith("home/.config/rl/rl.toml")
    env["RL_NETWORK"] = "c"
    assert config.load({"network": None}, env).network == "c"
    found = config.load({"network": "d"}, env)
    assert (found.network, found.sources["network"]) == ("d", "--network")


def test_rl_config_takes_the_place_of_the_users_file(home):
    own(home, '[network]\ndefault = "b"\n')
    other = write(home / "other.toml", '[network]\ndefault = "o"\n')
    assert config.load({}, environ(home, RL_CONFIG=str(other))).network == "o"
    with pytest.raises(config.ConfigError, match="gone.toml: no such file"):
        config.load({}, environ(home, RL_CONFIG="/gone.toml"))


def test_containers_section_holds_defaults_of_options(home):
    own(home, '[containers]\nulimits = ["nofile=10:20"]\ninit = true\n')
    found = config.load({}, environ(home))
    assert found.containers == {"ulimit": ("nofile=10:20",), "init": True}
    assert not hasattr(found, "init")


def test_paths(home):
    own(home, '[storage]\nroot = "~/store"\n')
    assert config.load({}, environ(home)).root == f"{home}/home/store"
    assert config.load({}, environ(home, RL_ROOT="here")).root == os.path.abspath("here")
    assert config.load({"root": "/x/../y"}, environ(home)).root == "/y"
    assert config.load({}, environ(home, XDG_DATA_HOME="/d", RL_CONFIG="/dev/null")).root == "/d/rl"


def test_relative_base_directories_are_ignored(home):
    found = config.load({}, environ(home, XDG_DATA_HOME="data", XDG_CONFIG_HOME="conf"))
    assert found.root == f"{home}/home/.local/share/rl"


def test_frozen(home):
    with pytest.raises(AttributeError):
        config.load({}, environ(home)).network = "x"


def test_home_comes_from_the_user_database(home):
    import pwd

    found = config.load({}, {"XDG_RUNTIME_DIR": str(home / "run"), "RL_CONFIG": "/dev/null"})
    assert found.root == f"{pwd.getpwuid(UID).pw_dir}/.local/share/rl"


def test_no_home_at_all_is_said_when_it_matters():
    found = config.load({"root": "/x"}, {}, uid=987654321)
    assert found.root == "/x"
    with pytest.raises(config.NoHome, match="987654321"):
        _ = config.load({}, {}, uid=987654321).root


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ('[storage]\ndrivr = "overlay"\n', "unknown key 'storage.drivr'", "driver in [storage]"),
        ('[store]\ndriver = "overlay"\n', "unknown key 'store.driver'", "driver in [storage]"),
        ("[containers]\nfrobnicate_all_of_it = 1\n", "unknown key", None),
        ("stray = 1\n", "unknown key 'stray'", None),
        ('[storage]\ndriver = "vfs"\n', 'storage.driver: "vfs": expected one of overlay', None),
        ('[engine]\nstop_timeout = "10"\n', 'engine.stop_timeout: "10": expected a number', None),
        ("[engine]\nstop_timeout = true\n", "expected a number", None),
        ("[engine]\nstop_timeout = -1\n", "expected a number", None),
        ("[containers]\ninit = 1\n", "containers.init: 1: expected true or false", None),
        ("[containers]\nenv = [1]\n", "containers.env: [1]: expected a list of strings", None),
        ('[containers]\nenv = "A=1"\n', "expected a list of strings", None),
        ('[containers]\nshm_size = "64q"\n', "expected a size such as 64m", None),
        ('[storage]\nroot = "relative"\n', "expected an absolute path", None),
        ('[storage]\nroot = ""\n', "expected a string that isn't empty", None),
        ("[network]\ndefault = 2020-01-01\n", "expected a string", None),
        ("[storage\n", "expected", None),
        ("\udcff", "not UTF-8 text", None),
    ],
)
def test_bad_files_are_named(home, text, says, hint):
    path = home / "home/.config/rl/rl.toml"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(config.ConfigError) as caught:
        config.load({}, environ(home))
    assert caught.value.message.startswith(f"{path}: ")
    assert says in caught.value.message
    assert "\n" not in caught.value.message
    if hint:
        assert hint in caught.value.advice


def test_a_bad_variable_is_named(home):
    with pytest.raises(config.ConfigError, match="^RL_STORAGE_DRIVER: storage.driver: "):
        config.load({}, environ(home, RL_STORAGE_DRIVER="vfs"))
    assert config.load({}, environ(home, RL_STORAGE_DRIVER="")).storage_driver is None


def test_the_home_of_somebody_else(home, monkeypatch):
    own(home, "")

    def closed(path, limit):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(config, "read_file", closed)
    with pytest.raises(config.Unreadable, match="Permission denied") as caught:
        config.load({}, environ(home))
    assert "sudo -iu" in caught.value.advice


def test_a_fifo_in_place_of_the_file_is_refused_at_once(home):
    path = home / "home/.config/rl/rl.toml"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(config.ConfigError, match="not a regular file"):
        config.load({}, environ(home))


# -- the cache -----------------------------------------------------------------------------


def test_files_are_parsed_once(home, monkeypatch):
    own(home, '[network]\ndefault = "b"\n')
    assert config.load({}, environ(home)).network == "b"
    assert (home / "run/rl/rl.toml.json").exists()

    def never(path):
        raise AssertionError("parsed again")

    monkeypatch.setattr(config, "_parse", never)
    assert config.load({}, environ(home)).network == "b"


def test_a_changed_file_is_seen(home):
    path = own(home, '[network]\ndefault = "b"\n')
    config.load({}, environ(home))
    path.write_text('[network]\ndefault = "c"\n')
    assert config.load({}, environ(home)).network == "c"
    path.unlink()
    assert config.load({}, environ(home)).network is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"files": 1}', "\0" * 50, "[" * 9999])
def test_garbage_in_the_cache_is_ignored(home, text):
    own(home, '[network]\ndefault = "b"\n')
    config.load({}, environ(home))
    (home / "run/rl/rl.toml.json").write_text(text)
    assert config.load({}, environ(home)).network == "b"


def test_garbage_with_the_right_stamps_is_ignored(home):
    own(home, '[network]\ndefault = "b"\n')
    config.load({}, environ(home))
    cache = home / "run/rl/rl.toml.json"
    text = cache.read_text()
    for documents in ('"documents":[]', '"documents":[3]', '"documents":7'):
        cache.write_text(text[: text.index('"documents"')] + documents + "}")
        assert config.load({}, environ(home)).network == "b"


def test_a_file_written_just_now_is_not_cached(home, monkeypatch):
    """It may change once more within the same tick of the clock."""
    monkeypatch.undo()
    monkeypatch.setattr(config, "ETC", str(home / "etc"))
    own(home, '[network]\ndefault = "b"\n')
    config.load({}, environ(home))
    assert not (home / "run/rl/rl.toml.json").exists()


def test_dates_keep_a_document_out_of_the_cache(home):
    write(home / "home/.config/rl/other.toml", "when = 2020-01-01\n")
    found = config.load({}, environ(home)).documents("other.toml")
    assert found[0][1]["when"].year == 2020


def test_documents_are_in_order(home):
    write(home / "etc/registries.toml", "a = 1\n")
    write(home / "home/.config/rl/registries.toml", "a = 2\n")
    found = config.load({}, environ(home)).documents("registries.toml")
    assert [document["a"] for _, document in found] == [1, 2]


# -- the runtime directory -----------------------------------------------------------------


@pytest.fixture
def places(tmp_path):
    """run/ and tmp/ in place of /run/user and /tmp."""
    (tmp_path / "run").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    return {"run": str(tmp_path / "run"), "tmp": str(tmp_path / "tmp")}


def find(env, places, uid=UID):
    return config.find_runtime(env, uid, **places)


def private(path, mode=0o700):
    os.mkdir(path)
    os.chmod(path, mode)
    return str(path)


def test_the_session_directory_is_taken(tmp_path, places):
    xdg = private(tmp_path / "xdg")
    path, rung, tries = find({"XDG_RUNTIME_DIR": xdg}, places)
    assert (path, rung) == (f"{xdg}/rl", "XDG_RUNTIME_DIR")
    assert os.stat(path).st_mode & 0o7777 == 0o700
    assert tries == [("XDG_RUNTIME_DIR", xdg, None)]


def test_links_are_followed_in_the_session_directory_only(tmp_path, places):
    xdg = private(tmp_path / "xdg")
    os.symlink(xdg, tmp_path / "link")
    assert find({"XDG_RUNTIME_DIR": f"{tmp_path}/link"}, places)[1] == "XDG_RUNTIME_DIR"
    os.symlink(xdg, f"{places['run']}/{UID}")
    assert find({}, places)[1] == "/tmp"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720, 0o702, 0o500, 0o1777, 0o070])
def test_a_directory_others_may_write_to_is_passed_over(tmp_path, places, mode):
    xdg = private(tmp_path / "xdg", mode)
    _, rung, tries = find({"XDG_RUNTIME_DIR": xdg}, places)
    os.chmod(xdg, 0o700)
    assert rung == "/tmp"
    assert f"mode {mode:04o}" in tries[0][2]


def test_a_directory_others_may_only_read_is_taken(tmp_path, places):
    assert find({"XDG_RUNTIME_DIR": private(tmp_path / "xdg", 0o755)}, places)[1][0] == "X"


def test_what_su_leaves_behind_is_passed_over(places):
    """The variable names the directory of another user."""
    left = private(f"{places['run']}/left")
    fault = config._try_base(left, UID + 1, os.stat)
    assert fault == f"belongs to uid {UID}, not to uid {UID + 1}"
    assert find({"XDG_RUNTIME_DIR": "/nowhere/at/all"}, places)[1] == "/tmp"
    assert find({"XDG_RUNTIME_DIR": "relative"}, places)[2][0][2] == "is not an absolute path"


def test_run_user_is_second(places):
    private(f"{places['run']}/{UID}")
    assert find({}, places)[1] == "/run/user"


def test_tmp_is_last_and_made(places):
    path, rung, _ = find({}, places)
    assert (path, rung) == (f"{places['tmp']}/rl-{UID}", "/tmp")
    assert os.stat(path).st_mode & 0o7777 == 0o700
    assert find({}, places)[0] == path


def test_what_others_put_into_tmp_is_an_error(tmp_path, places):
    path = f"{places['tmp']}/rl-{UID}"
    elsewhere = private(tmp_path / "elsewhere")
    os.symlink(elsewhere, path)
    with pytest.raises(config.RuntimeDirectory, match="a runtime directory that isn't ours"):
        find({}, places)
    assert os.listdir(elsewhere) == []
    os.unlink(path)
    with open(path, "w"):
        pass
    with pytest.raises(config.RuntimeDirectory, match="is not a directory"):
        find({}, places)
    os.unlink(path)
    private(path, 0o777)
    with pytest.raises(config.RuntimeDirectory, match="mode 0777"):
        find({}, places)
    os.chmod(path, 0o700)
    with pytest.raises(config.RuntimeDirectory, match="belongs to uid"):
        config.claim(path, UID + 1)


def test_tmp_without_the_sticky_bit_is_refused(places):
    os.chmod(places["tmp"], 0o777)
    with pytest.raises(config.RuntimeDirectory, match="sticky"):
        find({}, places)


def test_a_runroot_that_is_named_is_made_and_checked(home):
    wanted = home / "a/b/c"
    found = config.load({"runroot": str(wanted)}, environ(home))
    assert found.runroot == str(wanted)
    assert wanted.stat().st_mode & 0o7777 == 0o700
    wanted.chmod(0o720)
    with pytest.raises(config.RuntimeDirectory):
        _ = config.load({"runroot": str(wanted)}, environ(home)).runroot


def test_ours_but_open_to_readers_is_closed(home):
    wanted = home / "r"
    private(wanted, 0o755)
    assert config.load({"runroot": str(wanted)}, environ(home)).runroot
    assert wanted.stat().st_mode & 0o7777 == 0o700


def test_a_bad_runtime_directory_costs_only_who_needs_it(home):
    """rl doctor has to be able to say what is wrong with it."""
    own(home, '[network]\ndefault = "b"\n')
    os.symlink("/", home / "run/rl")
    found = config.load({}, environ(home))
    assert found.network == "b"
    with pytest.raises(config.RuntimeDirectory):
        _ = found.runroot


# -- what is documented and what is loaded -------------------------------------------------


def documented():
    """{section.key: text of the default or None} of the packaged rl.toml."""
    section, found = None, {}
    with open(rootless.conf_path("rl.toml"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("["):
                section = line.strip("[]\n")
            elif line.startswith("#") and not line.startswith("# "):
                key, _, value = line[1:].partition("=")
                if key.strip():
                    found[f"{section}.{key.strip()}"] = value.strip() or None
    return found


def test_every_key_is_documented_with_its_default():
    try:
        import tomllib
    except ImportError:
        import tomli as tomllib
    shown = documented()
    assert set(shown) == set(config.KEYS)
    for key, text in shown.items():
        default = config.KEYS[key][2]
        value = None if text is None else tomllib.loads(f"x = {text}")["x"]
        assert (tuple(value) if isinstance(value, list) else value) == default, key


def test_every_variable_is_documented():
    with open(rootless.conf_path("rl.toml"), encoding="utf-8") as file:
        text = file.read()
    for key, row in config.KEYS.items():
        if row[4]:
            assert row[4] in text, key


def test_every_key_is_read_by_something():
    """A key that nothing reads would be accepted and ignored."""
    package = pathlib.Path(rootless.__file__).parent
    read = set()
    for path in package.rglob("*.py"):
        if path.name == "config.py" and path.parent == package:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
    own_attributes = {row[0] for key, row in config.KEYS.items() if not key.startswith("contai")}
    assert own_attributes <= read
    assert "containers" in read


def test_what_a_start_loads(home):
    own(home, '[network]\ndefault = "b"\n')
    config.load({}, environ(home))  # fill the cache
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from rootless import config\n"
        "config.ETC = sys.argv[2]\n"
        "import os; found = config.load({}, dict(os.environ)); found.root; found.runroot\n"
        "assert found.network == 'b'\n"
        "print(*sys.modules)"
    )
    tree = os.path.dirname(os.path.dirname(rootless.__file__))
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code, tree, f"{home}/etc"],
        env=environ(home), capture_output=True, text=True, check=True,
    )  # fmt: skip
    heavy = {"re", "json", "typing", "pathlib", "tomllib", "tomli", "dataclasses", "enum"}
    assert not heavy & set(ran.stdout.split())
