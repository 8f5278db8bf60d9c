"""The fast reader and click's, held to one answer over generated command lines."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootless.cli import app, fast, help, options
from rootless.cli.options.table import FLAG, NUMBER, VALUE
from rootless.errors import RlError


@pytest.fixture(autouse=True, scope="module")
def every_verb_is_built():
    """What is read doesn't depend on which verbs this version can do."""
    real, help.is_built = help.is_built, lambda verb: verb.unavailable is None
    yield
    help.is_built = real


def both(argv):
    """(fast's answer, click's answer); the latter None where it refuses or shows help."""
    try:
        careful = app.parse(argv)
    except RlError:
        careful = None
    return fast.parse(argv), careful if careful and careful[1] is not None else None


TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "A=1", "a,b", 'a,"b,c"', '"', "-1", "0", "7", "x=y,z=1", "--", "-", "-it",
         "--rm", "true", "false", "T", "nonsense", "always", "64m", "é", "a b", "=", "\udcff"]
    ),
    st.text("ab-=,\"01 ", max_size=5),
)  # fmt: skip


def spellings(row):
    """Ways to type one option: mostly right, sometimes not."""
    name = st.sampled_from(row.names)
    if row.kind == FLAG:
        plain = name.map(lambda n: [n])
        return st.one_of(plain, plain, st.tuples(name, TEXTS).map(lambda p: [f"{p[0]}={p[1]}"]))
    good = TEXTS
    if row.kind == NUMBER:
        good = st.one_of(st.integers(-2, 99).map(str), TEXTS)
    elif row.choices:
        good = st.one_of(st.sampled_from(row.choices), TEXTS)
    pair = st.tuples(name, good)
    return st.one_of(
        pair.map(list),
        pair.map(lambda p: [f"{p[0]}={p[1]}"]),
        pair.map(lambda p: [p[0] + p[1]]),
        name.map(lambda n: [n]),
    )


@st.composite
def lines(draw):
    name = draw(st.sampled_from(sorted([*options.names(), *options.ALIASES])))
    verb = options.find(name)
    rows = [row for row in (*verb.options, *options.GLOBALS)]
    shorts = [n[1] for row in rows for n in row.names if n[1] != "-"]
    argv = []
    if draw(st.integers(0, 3)) == 0:
        argv += draw(spellings(draw(st.sampled_from(options.GLOBALS))))
    argv += name.split()
    for _ in range(draw(st.integers(0, 6))):
        what = draw(st.integers(0, 9))
        if what < 5 and rows:
            argv += draw(spellings(draw(st.sampled_from(rows))))
        elif what < 6 and shorts:
            cluster = draw(st.lists(st.sampled_from([*shorts, "=", "Z"]), min_size=1, max_size=4))
            argv.append("-" + "".join(cluster))
        elif what < 9:
            argv.append(draw(st.sampled_from(["debian", "web", "x"])))
        else:
            argv.append(draw(TEXTS))
    return argv


@settings(max_examples=1500, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(lines())
def test_generated_lines(argv):
    quick, careful = both(argv)
    if quick is not None:
        assert careful == quick, argv


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_right_lines_are_taken_by_both(data):
    """The generator above would hold for a fast reader that never answers; this doesn't."""
    name = data.draw(st.sampled_from(sorted([*options.names(), *options.ALIASES])))
    verb = options.find(name)
    rows = [row for row in verb.options if not row.unavailable]
    argv = name.split()
    for row in data.draw(st.lists(st.sampled_from(rows), max_size=5)) if rows else []:
        if row.name in verb.alone:
            continue
        if row.kind == FLAG:
            argv.append(row.names[0])
        elif row.kind == NUMBER:
            argv += [row.names[-1], str(data.draw(st.integers(1, 9999)))]
        else:
            argv += [row.names[-1], row.choices[0] if row.choices else "a=b"]
    argv += ["x"] * verb.least
    quick, careful = both(argv)
    assert quick is not None, argv
    assert careful == quick, argv


def value_of(argv, name):
    quick, careful = both(argv)
    assert quick == careful
    return getattr(quick[1], name)


@pytest.mark.parametrize(
    ("argv", "name", "wanted"),
    [
        ("run -itd x", "interactive", True),
        ("run -itd x", "detach", True),
        ("run --rm=false x", "rm", False),
        ("run --rm=0 x", "rm", False),
        ("run --rm x", "rm", True),
        ("run x", "sig_proxy", True),
        ("run --sig-proxy=false x", "sig_proxy", False),
        ("run -eA=1 -e B=2 -e=C=3 --env D=4 --env=E=5 x", "env",
         ("A=1", "B=2", "C=3", "D=4", "E=5")),
        ("run -tieA=1 x", "env", ("A=1",)),
        ("run -e --rm x", "env", ("--rm",)),
        ("run --env= x", "env", ("",)),
        ("run --cap-add a,b --cap-add c x", "cap_add", ("a", "b", "c")),
        ("run --cap-add= x", "cap_add", ()),
        ("run --tmpfs /a:ro,size=1 x", "tmpfs", ("/a:ro,size=1",)),
        ("run --name a --name b x", "name", "b"),
        ("run --net host x", "network", ("host",)),
        ("run --stop-timeout 0 x", "stop_timeout", 0),
        ("run x", "stop_timeout", None),
        ("run -it=false x", "tty", False),
        ("ps -n -1", "last", -1),
        ("ps -n=3", "last", 3),
        ("logs web --tail 5", "tail", 5),
        ("stop --time 3 web", "time", 3),
        ("stop --timeout 3 web", "time", 3),
        ("image inspect a", "type", "image"),
        ("container inspect a", "type", "container"),
    ],
)  # fmt: skip
def test_values(argv, name, wanted):
    assert value_of(argv.split(), name) == wanted


def test_quotes_in_a_list_are_for_the_careful_reader():
    quick, careful = both(["run", "--device", '"/dev/a,b",/dev/c', "x"])
    assert quick is None
    assert careful[1].device == ("/dev/a,b", "/dev/c")


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ("run --rm x ls -l --rm", ("x", "ls", "-l", "--rm")),
        ("run -- x -- y", ("x", "--", "y")),
        ("run x -- y", ("x", "--", "y")),
        ("exec -i web sh -c exit", ("web", "sh", "-c", "exit")),
        ("rm a -f b", ("a", "b")),
        ("rm a -- -f", ("a", "-f")),
        ("cp - web:/x", ("-", "web:/x")),
        ("unshare ls -l", ("ls", "-l")),
        ("exec --latest ls", ("ls",)),
        ("stop --all", ()),
        ("volume create", ()),
    ],
)
def test_arguments(argv, wanted):
    quick, careful = both(argv.split())
    assert quick is not None and quick == careful
    assert quick[1].args == wanted


def test_what_was_typed():
    _, request = fast.parse("run --rm -eA=1 --pull always x".split())
    assert request.given == {"rm", "env", "pull"}


@pytest.mark.parametrize(
    "argv", ["--root /r ps", "ps --root /r", "--root=/r ps -a", "ps --root=/r"]
)
def test_global_options_stand_anywhere(argv):
    quick, careful = both(argv.split())
    assert quick == careful
    assert quick[0] == {"root": "/r"}


def test_debug_is_a_log_level():
    assert both(["--debug", "ps"])[0][0] == {"log_level": "debug"}
    assert both(["--debug=false", "ps"])[0][0] == {}
    assert both(["ps", "--debug"])[1][0] == {"log_level": "debug"}


def test_global_names_of_a_containers_command_are_its_own():
    quick, careful = both("run x --root /r".split())
    assert quick == careful
    assert quick[0] == {} and quick[1].args == ("x", "--root", "/r")


def test_aliases_make_the_same_request():
    for alias, name in options.ALIASES.items():
        verb = options.find(name)
        words = ["x"] * verb.least
        assert fast.parse([*alias.split(), *words]) == fast.parse([*name.split(), *words])


def test_unavailable_options_are_for_no_reader():
    for name in options.names():
        for row in options.find(name).options:
            if not row.unavailable:
                continue
            typed = [row.names[-1], "1"] if row.kind == VALUE else [row.names[-1]]
            assert both([*name.split(), *typed, "x"]) == (None, None)


@pytest.mark.parametrize(
    ("words", "policy", "args"),
    [
        (("--pull", "x"), "true", ("x",)),
        (("--pull=never", "x"), "never", ("x",)),
        (("x", "--pull"), "true", ("x",)),
        (("-q", "--pull", "-t", "a", "x"), "true", ("x",)),
    ],
)
def test_an_option_whose_value_may_be_left_out(words, policy, args):
    quick, careful = both(["build", *words])
    assert quick == careful and quick is not None
    assert quick[1].pull == policy and quick[1].args == args
