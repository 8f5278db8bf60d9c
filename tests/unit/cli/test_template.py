"""Go templates, as docker's and podman's users type them."""

import pytest

from rootless.cli.template import TemplateError, render, render_list

DATA = {
    "Id": "abc",
    "Names": ["a", "b"],
    "State": {"Pid": 3, "Running": True, "Error": None},
    "Config": {"Labels": {"x.y": "1", "UP": "2"}, "Env": ["A=1", "B=2"]},
    "Ratio": 1.5,
    "Whole": 2.0,
    "Empty": [],
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("{{.Id}}", "abc"),
        ("{{ .Id }}", "abc"),
        ("{{.id}}", "abc"),
        ("{{.State.Pid}}", "3"),
        ("{{.State.Running}}", "true"),
        ("{{.State.Error}}", "<nil>"),
        ("{{.State.Error.More}}", "<no value>"),
        ("{{.Ratio}} {{.Whole}}", "1.5 2"),
        ("{{.Names}}", "[a b]"),
        ("{{.State}}", "map[Error:<nil> Pid:3 Running:true]"),
        ("{{json .Names}}", '["a","b"]'),
        ("{{json .}}", None),
        ("{{.Names | json}}", '["a","b"]'),
        ('{{join .Names ", "}}', "a, b"),
        ('{{.Names | join ", "}}', "a, b"),
        ("{{len .Names}} {{len .Id}}", "2 3"),
        ("{{index .Names 1}}", "b"),
        ('{{index .Config.Labels "x.y"}}', "1"),
        ("{{.Config.Labels.UP}} {{.Config.Labels.nope}}", "2 <no value>"),
        ('{{(index .Names 0) | upper}}', "A"),
        ("{{upper .Id}} {{title .Id}} {{lower (upper .Id)}}", "ABC Abc abc"),
        ('{{index (split "a:b" ":") 1}}', "b"),
        ('{{(index .Config "Labels").UP}}{{(index (index .Config "Labels") "x.y") | upper}}', "21"),
        ('{{with .Config}}{{(index . "Labels").UP}}{{end}} {{upper ((.Config).Labels).UP}}', "2 2"),
        ("{{slice .Id 1 2}}", "b"),
        ("{{truncate .Id 2}}|{{pad .Id 1 2}}|", "ab| abc  |"),
        ("{{range .Names}}[{{.}}]{{end}}", "[a][b]"),
        ("{{range $i, $n := .Names}}{{if $i}},{{end}}{{$i}}{{$n}}{{end}}", "0a,1b"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v} }{{end}}", TemplateError),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "UP=2;x.y=1;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Names}}{{break}}{{end}}.", "."),
        ('{{range .Names}}{{if eq . "a"}}{{continue}}{{end}}{{.}}{{end}}', "b"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
        ("{{range .Names}}{{$.Id}}{{end}}", "abcabc"),
        ("{{if .Empty}}y{{else}}n{{end}}", "n"),
        ("{{if .Empty}}1{{else if .Names}}2{{else}}3{{end}}", "2"),
        ("{{if and .Names (eq .State.Pid 3)}}y{{end}}", "y"),
        ("{{if not .State.Running}}y{{else}}n{{end}}", "n"),
        ("{{if or .Empty .Id}}y{{end}}", "y"),
        ('{{eq .Id "x" "abc"}} {{ne .Id "x"}} {{lt 1 2}} {{ge 1 2}}', "true true true false"),
        ("{{with .State}}{{.Pid}}{{end}}", "3"),
        ("{{with .Empty}}x{{else}}y{{end}}", "y"),
        ("{{$x := .State}}{{$x.Pid}}", "3"),
        ("{{/* nothing */}}a", "a"),
        ("a {{- .Id -}} b", "aabcb"),
        ("a {{- /* c */ -}} b", "ab"),
        (r"a\tb\n", "a\tb\n"),
        (r'{{"a\tb"}}{{`\t`}}', "a\tb\\t"),
        ('{{"}}"}}', "}}"),
        ('{{printf "%s:%d %5.1f %-4s| %q %t %% %x" .Id 7 .Ratio "z" "q" true 255}}',
         'abc:7   1.5 z   | "q" true % ff'),
        ('{{print .Id 1 true}}', "abc1true"),
        ("{{true}} {{1}} {{-2}} {{1.5}} {{nil}}", "true 1 -2 1.5 <nil>"),
    ],
)  # fmt: skip
def test_render(text, wanted):
    if wanted is TemplateError:
        with pytest.raises(TemplateError):
            render(text, DATA)
    elif wanted is not None:
        assert render(text, DATA) == wanted
    else:
        assert render(text, DATA).startswith('{"Id":"abc"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{.Nope}}", "there is no field .Nope here"),
        ("{{.State.Nope}}", "there is no field .State.Nope here"),
        ("{{.Id.Nope}}", "there is no field .Id.Nope here"),
        ("{{.Id", "a {{ is not closed by }}"),
        ("{{}}", "an action is empty: {{}}"),
        ("{{if .Id}}x", "an {{end}} is missing"),
        ("{{end}}", "{{end}} without a beginning"),
        ("{{nope .Id}}", "there is no function 'nope'"),
        ("{{len 3}}", "len: 3 has no length"),
        ("{{index .Names 7}}", "index: there are 2 items, not 8"),
        ("{{.Id .Names}}", ".Id is no function"),
        ("{{$x}}", "there is no variable $x"),
        ("{{range .Id}}{{end}}", "range needs a list, not abc"),
        ('{{"a}}', "a {{ is not closed by }}"),
        ("{{(.Id}}", "a ( is not closed"),
        ("{{.Id)}}", "a ) too many, or nothing in ( )"),
        ("{{.Id |}}", "a value is missing"),
        ("{{| len}}", "nothing stands before |"),
        ('{{template "x"}}', "{{template}} is not supported"),
        ("{{break}}", "break and continue belong into a range"),
        ("{{lt 1 .Id}}", "lt: 1 and abc can't be compared"),
        ('{{printf "%d" .Id}}', "printf: abc is not a number"),
        ('{{printf "%s"}}', "printf: a value for %s is missing"),
        ("{{join .Names}}", None),
    ],
)
def test_errors_are_one_line_that_names_the_thing(text, message):
    with pytest.raises(TemplateError) as caught:
        render(text, DATA)
    assert "\n" not in caught.value.message
    if message:
        assert caught.value.message == f"--format: {message}"
    assert caught.value.advice


def test_the_hint_lists_the_fields():
    with pytest.raises(TemplateError) as caught:
        render("{{.State.Nope}}", DATA)
    assert caught.value.advice == "the fields here are: .Pid, .Running, .Error"


def test_keys_with_braces_dont_break_the_hint():
    with pytest.raises(TemplateError) as caught:
        render("{{.Nope}}", {"A{x}": 1})
    assert ".A{x}" in caught.value.advice


ITEMS = [{"ID": "1", "CreatedAt": "now"}, {"ID": "2", "CreatedAt": "then"}]
HEADINGS = {"ID": "CONTAINER ID"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{.ID}}", "1\n2\n"),
        ("{{range .}}{{.ID}};{{end}}", "1;2;"),
        ("{{range .}}{{println .ID}}{{end -}}", "1\n2\n"),
        ("table {{.ID}}\\t{{.CreatedAt}}",
         "CONTAINER ID  CREATED AT\n1             now\n2             then\n"),
        ("table {{upper .CreatedAt}}", "CREATED AT\nNOW\nTHEN\n"),
        ('table {{printf "%s!" .ID}}', "CONTAINER ID\n1!\n2!\n"),
    ],
)  # fmt: skip
def test_lists(text, wanted):
    assert render_list(text, ITEMS, HEADINGS) == wanted
