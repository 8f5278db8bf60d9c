"""The option table itself."""

import shlex

import pytest

from rootless.cli import fast, help, options
from rootless.cli.options.table import FLAG, LIST, WORDS

VERBS = [options.find(name) for name in options.names()]
SHOWN = [verb for verb in VERBS if not verb.hidden]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_spellings_are_unique(verb):
    names = [name for row in verb.options for name in row.names]
    assert len(names) == len(set(names))
    attributes = [row.name for row in verb.options]
    assert len(attributes) == len(set(attributes))
    # A global option would be shadowed, and mean something else after the verb.
    assert not set(names) & set(options.GLOBAL_NAMES)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_rows_are_whole(verb):
    for row in verb.options:
        assert row.name.isidentifier()
        assert all(name.startswith("--") or len(name) == 2 for name in row.names)
        if row.unavailable:
            continue
        assert row.help and not row.help.endswith("."), row
        assert (row.metavar is None) == (row.kind == FLAG), row
        assert row.default in {FLAG: (True, False), LIST: ((),), WORDS: ((),)}.get(
            row.kind, (None,)
        ), row
    names = {row.name for row in verb.options}
    assert set(verb.instead) <= names
    assert verb.summary and not verb.summary.endswith(".")


@pytest.mark.parametrize("verb", SHOWN, ids=lambda verb: verb.name)
def test_what_runs_another_verb_has_all_its_options(verb):
    target = options.find(verb.runs)
    assert verb.runs == target.name and verb.module == target.module
    # What a group presets may be known to nobody but the module: image diff, not diff.
    assert set(target.defaults) <= set(verb.defaults)
    assert set(verb.defaults) <= {*target.defaults, *verb.preset}


def commands_of(line):
    """The words of each rl in a shell line."""
    words = shlex.shlex(line, posix=True, punctuation_chars="|>")
    words.whitespace_split = True
    found = [[]]
    for word in words:
        if word in ("|", ">"):
            found.append([])
        else:
            found[-1].append(word)
    return [words[1:] for words in found if words[0] == "rl"]


@pytest.mark.parametrize("verb", SHOWN, ids=lambda verb: verb.name)
def test_examples_are_commands(verb):
    for _, line in verb.examples:
        found = commands_of(line)
        assert found, line
        for words in found:
            assert fast.parse(words), line


def test_aliases_lead_to_verbs_of_groups():
    for alias, name in options.ALIASES.items():
        assert options.find(alias) is options.find(name) is not None
        if " " in alias:
            assert alias.split()[0] in options.GROUPS


def test_the_page_of_rl_shows_every_verb():
    shown = {name for _, names in help.SECTIONS for name in names.split()}
    assert shown == {verb.name for verb in SHOWN if " " not in verb.name}
