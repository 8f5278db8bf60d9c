"""Variables, quotes, escapes: what the shell lexer of BuildKit makes of them."""

import pytest

from rootless.build.language import expand, globs, parse
from rootless.build.language.expand import BadExpansion

VALUES = {
    "v": "value", "empty": "", "home": "/home/me", "sp": "a  b", "two": "xx.tar.gz",
    "path": "/usr/lib/x", "star": "*", "quote": "it's", "PWD_2": "p", "é": "accent",
}  # fmt: skip


def got(text, escape="\\"):
    return expand.expand(text, VALUES.get, escape)


@pytest.mark.parametrize(
    "text, result",
    [
        ("", ""),
        ("plain text", "plain text"),
        ("$v", "value"),
        ("a$v.b", "avalue.b"),
        ("a${v}b", "avalueb"),
        ("$PWD_2x", ""),
        ("${PWD_2}x", "px"),
        ("$é", "accent"),
        ("$none", ""),
        ("${none}", ""),
        ("$", "$"),
        ("$.", "$."),
        ("a$ b", "a$ b"),
        ("$1a", "a"),
        ("$12a", "a"),
        ("$@$*$#$?$-$$$!$0", ""),
        ("${@}", ""),
        ("$v$v", "valuevalue"),
        ("${aaa}}", "}"),
        # quotes
        ("'$v'", "$v"),
        ('"$v"', "value"),
        ("\"it's\"", "it's"),
        ("'a\"b'", 'a"b'),
        ("a'b'c\"d\"", "abcd"),
        ("$quote", "it's"),
        ("''", ""),
        # escapes
        ("\\$v", "$v"),
        ("a\\ b", "a b"),
        ("a\\\\b", "a\\b"),
        ("a\\tb", "atb"),
        ("a\\", "a"),
        ('"a\\tb"', "a\\tb"),
        ('"\\$v \\" \\\\"', '$v " \\'),
        ("'\\$v'", "\\$v"),
        ("\\'", "'"),
        # defaults
        ("${v:-x}", "value"), ("${v-x}", "value"),
        ("${empty:-x}", "x"), ("${empty-x}", ""),
        ("${none:-x}", "x"), ("${none-x}", "x"),
        ("${none:-}", ""), ("${none:-$v}", "value"),
        ("${none:-${empty:-${v}}}", "value"),
        ("${none:-'a b'}", "a b"), ('${none:-"$v}"}', "value}"),
        ("${none:-\\}}", "}"), ("${none:-a b {c}", "a b {c"),
        ("${1:-x}", "x"), ("${@:-x}", "x"),
        # alternatives
        ("${v:+x}", "x"), ("${v+x}", "x"),
        ("${empty:+x}", ""), ("${empty+x}", "x"),
        ("${none:+x}", ""), ("${none+x}", ""),
        ("${v:+${home}}", "/home/me"),
        # required
        ("${v:?no}", "value"), ("${v?no}", "value"), ("${empty?no}", ""),
        # from the start
        ("${two#*.}", "tar.gz"), ("${two##*.}", "gz"),
        ("${two#x}", "x.tar.gz"), ("${two##x*x}", ".tar.gz"),
        ("${two#nope}", "xx.tar.gz"), ("${two#}", "xx.tar.gz"),
        ("${two#*}", "xx.tar.gz"), ("${two##*}", ""),
        ("${two#?}", "x.tar.gz"), ("${two#xx.}", "tar.gz"),
        ("${path##*/}", "x"), ("${path#/*/}", "lib/x"),
        ("${none#x}", ""), ("${two#$v}", "xx.tar.gz"),
        # from the end
        ("${two%.*}", "xx.tar"), ("${two%%.*}", "xx"),
        ("${path%/*}", "/usr/lib"), ("${two%z}", "xx.tar.g"),
        ("${two%}", "xx.tar.gz"), ("${two%%*}", ""),
        ("${two%.tar?gz}", "xx"), ("${v%$v}", ""),
        ("${star#\\*}", ""), ("${star%\\?}", "*"),
        # replaced
        ("${path/\\//_}", "_usr/lib/x"), ("${path//\\//_}", "_usr_lib_x"),
        ("${two/x/}", "x.tar.gz"), ("${two//x/}", ".tar.gz"),
        ("${two/./-}", "xx-tar.gz"), ("${two//./-}", "xx-tar-gz"),
        ("${two/*/y}", "y"), ("${two//*/y}", "y"),
        ("${two/t*r/T}", "xx.T.gz"), ("${two//?/.}", "........."),
        ("${two/nope/y}", "xx.tar.gz"), ("${none/a/b}", ""),
        ("${two//x/$v}", "valuevalue.tar.gz"),
        ("${v///-}", "-v-a-l-u-e-"), ("${empty//*/y}", "y"),
        ("${path//\\//\\/}", "\\/usr\\/lib\\/x"),
        ("${two/$star/y}", "y"),
    ],
)  # fmt: skip
def test_expansion(text, result):
    assert got(text) == result


@pytest.mark.parametrize(
    "text, why",
    [
        ("'", "single quote is never closed"),
        ("a'b", "single quote is never closed"),
        ('"', "double quote is never closed"),
        ('"$v', "double quote is never closed"),
        ('"\\"', "double quote is never closed"),
        ("${", "there is no name|missing"),
        ("${v", "missing"),
        ("${}", "there is no name"),
        ("${:}", "there is no name"),
        ("${{v}", "there is no name"),
        ("${v:-x", "missing"),
        ("${v:-${x}", "missing"),
        ("${v/a", "missing"),
        ("${v/a}", "missing"),
        ("${v//a/b", "missing"),
        ("${v:", "missing"),
        ("${v:}", "isn't known"),
        ("${v:=x}", "isn't known"),
        ("${v=x}", "isn't known"),
        ("${v:#x}", "isn't known"),
        ("${v:%x}", "isn't known"),
        ("${v:/x/y}", "isn't known"),
        ("${v^^}", "isn't known"),
        ("${v,,}", "isn't known"),
        ("${v@Q}", "isn't known"),
        ("${!v}", "isn't known"),
        ("${v x}", "isn't known"),
        ("${.}", "isn't known"),
        ("${none:?}", "none: isn't set"),
        ("${none?}", "none: isn't set"),
        ("${empty:?}", "empty: is empty"),
        ("${none:?say $v}", "none: say value"),
        ("${v#\\a}", "in the pattern"),
    ],
)
def test_bad_expansion(text, why):
    with pytest.raises(BadExpansion, match=why):
        got(text)


def test_the_other_escape_character():
    assert got("`$v \\$v", "`") == "$v \\value"
    assert got('"`"`$\\"', "`") == '"$\\'
    assert got("C:\\$v", "`") == "C:\\value"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", []),
        ("  ", []),
        ("a b\tc", ["a", "b", "c"]),
        ("$sp", ["a", "b"]),
        ('"$sp"', ["a  b"]),
        ("x${sp}y", ["xa", "by"]),
        ("a\\ b", ["a b"]),
        ("'a b' c", ["a b", "c"]),
        ("''", []),
        ("$none", []),
        ("a$none b", ["a", "b"]),
        ("x${none:-1 2}y", ["x1", "2y"]),
    ],
)
def test_words(text, words):
    assert expand.words(text, VALUES.get) == words


def test_unset_variables_may_stay():
    text = "$none ${none} ${none:-$v} ${none#a} ${none/a/b} ${none:?} $v"
    assert expand.expand(text, VALUES.get, keep_unset=True) == text[:-2] + "value"


def test_quotes_mean_nothing_in_a_heredoc():
    assert expand.content("it's \"$v\" \\$v \\\\ '$v'\n", VALUES.get) == (
        "it's \"value\" $v \\ 'value'\n")  # fmt: skip
    node = parse.parse_line("# x\nRUN a", "x", "`")
    assert expand.content("`$v \\$v", VALUES.get, node) == "`value $v"


def test_raw_words_keep_everything():
    assert expand.raw_words("a 'b c' \"d $e\" f\\ g << H") == [
        "a", "'b c'", '"d $e"', "f\\ g", "<< H"]  # fmt: skip
    assert expand.raw_words("it's") == []


def test_a_mistake_is_marked_in_the_file():
    node = parse.parse("FROM a\nENV x=1 \\\n  y=${v:=3}").nodes[1]
    with pytest.raises(BadExpansion) as error:
        expand.expand("${v:=3}", VALUES.get, node=node)
    assert "Containerfile:3:5" in str(error.value)
    assert ":-" in error.value.advice


# --- hostile -------------------------------------------------------------------------------


def test_nothing_grows_without_end():
    big = "x" * 1000
    with pytest.raises(BadExpansion, match="more than"):
        expand.expand("$v" * 2000, lambda name: big)
    with pytest.raises(BadExpansion, match="more than"):
        expand.expand("${v//x/$v}", lambda name: big * 3)
    with pytest.raises(BadExpansion, match="nested"):
        expand.expand("${a:-" * 5000, lambda name: None)


def test_no_pattern_takes_long():
    value = "a" * 100_000
    for pattern in ("*a" * 300 + "b", "?" * 90_000 + "b", "*" * 50_000 + "b"):
        assert expand.expand(f"${{v#{pattern}}}", lambda name: value) == value
        assert expand.expand(f"${{v%%{pattern}}}", lambda name: value) == value
        assert expand.expand(f"${{v//{pattern}/x}}", lambda name: value) == value
    with pytest.raises(BadExpansion, match="searched"):
        expand.expand("${v/a/b}", lambda name: value * 2)


def test_globs():
    text = globs.Text("a/bc/d")
    assert text.ends(["a", "/"]) == 1 << 2
    assert text.ends([globs.SOME]) == 0b11
    assert text.ends(["a", "/", globs.SOME]) == 0b11100
    assert text.ends([globs.GAP]) == 0b100101
    assert text.ends([globs.ANY]) == text.all == 0b1111111
    assert text.ends([globs.ONE] * 6) == 1 << 6
    assert text.ends([globs.INSIDE] * 2) == 0
    assert text.ends([]) == 1
    assert text.ends(["x"]) == 0
    assert (globs.lowest(0b10100), globs.highest(0b10100)) == (2, 4)
    assert globs.Text("").ends([globs.SOME]) == 1
