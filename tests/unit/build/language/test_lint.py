"""The build checks: each rule's bad and good example, and how rules are chosen."""

import pytest

from rootless.build.language import ignore, instructions, lint, parse
from rootless.build.language.source import BuildError


def check(text, **options):
    document = parse.parse(text)
    return lint.check(document, instructions.read(document), **options)


def rules(text, **options):
    return [(found.rule, found.line) for found in check(text, **options)]


# rule, line, a file where it is found there, and one where nothing is found
EXAMPLES = [
    ("StageNameCasing", 1, "FROM a AS Base", "FROM a AS base"),
    ("FromAsCasing", 1, "FROM a as base", "FROM a AS base"),
    ("FromAsCasing", 1, "from a AS base", "from a as base"),
    ("FromAsCasing", 1, "FROM a As base", "FROM a AS base"),
    ("NoEmptyContinuation", 3, "FROM a\nRUN b \\\n\n c", "FROM a\nRUN b \\\n# x\n c"),
    ("ConsistentInstructionCasing", 2, "FROM a\nrun b", "FROM a\nRUN b"),
    ("ConsistentInstructionCasing", 1, "FROM a\nrun b\nrun c", "from a\nrun b\nrun c"),
    ("ConsistentInstructionCasing", 2, "FROM a\nRun b", "FROM a\nRUN b"),
    ("DuplicateStageName", 2, "FROM a AS x\nFROM b AS x", "FROM a AS x\nFROM b AS y"),
    ("ReservedStageName", 1, "FROM a AS scratch", "FROM scratch AS a"),
    ("ReservedStageName", 1, "FROM a AS context", "FROM a AS contexts"),
    ("JSONArgsRecommended", 2, "FROM a\nCMD b", 'FROM a\nCMD ["b"]'),
    ("JSONArgsRecommended", 2, "FROM a\nENTRYPOINT b", 'FROM a\nSHELL ["sh"]\nENTRYPOINT b'),
    ("MaintainerDeprecated", 2, "FROM a\nMAINTAINER b", "FROM a\nLABEL maintainer=b"),
    ("UndefinedArgInFrom", 1, "FROM a$B", "ARG B=1\nFROM a$B"),
    ("UndefinedArgInFrom", 1, "FROM --platform=$BUILDPLATFROM a",
     "FROM --platform=$BUILDPLATFORM a"),
    ("WorkdirRelativePath", 2, "FROM a\nWORKDIR b", "FROM a\nWORKDIR /b\nWORKDIR c"),
    ("WorkdirRelativePath", 2, "FROM a\nWORKDIR b\nWORKDIR c", "FROM a\nWORKDIR $HOME"),
    ("UndefinedVar", 2, "FROM scratch\nCOPY $b c", "FROM scratch\nARG b\nCOPY $b c"),
    ("UndefinedVar", 3, "FROM scratch\nARG b\nENV c=$d", "FROM scratch\nENV b=1\nENV c=$b"),
    ("UndefinedVar", 2, "FROM a\nENV PATH=$PTAH:/b", "FROM a\nENV PATH=$PATH:/b"),
    ("UndefinedVar", 2, "FROM scratch\nLABEL a=${b}", "FROM scratch\nLABEL a='$b' c=\\$d"),
    ("UndefinedVar", 2, "FROM scratch\nCOPY <<a b\n$c\na", "FROM scratch\nCOPY <<'a' b\n$c\na"),
    ("UndefinedVar", 2, "FROM scratch\nRUN --mount=type=bind,target=/$x a",
     "FROM scratch\nRUN echo $x"),
    ("UndefinedVar", 2, "FROM scratch\nEXPOSE $a", "FROM a\nEXPOSE $from_the_base"),
    ("MultipleInstructionsDisallowed", 2, 'FROM a\nCMD ["a"]\nCMD ["b"]',
     'FROM a AS x\nCMD ["a"]\nFROM x\nCMD ["b"]'),
    ("MultipleInstructionsDisallowed", 2, "FROM a\nHEALTHCHECK NONE\nHEALTHCHECK CMD b",
     "FROM a\nHEALTHCHECK NONE"),
    ("LegacyKeyValueFormat", 2, "FROM a\nENV b c", "FROM a\nENV b=c"),
    ("LegacyKeyValueFormat", 2, "FROM a\nLABEL b c", "FROM a\nLABEL b=c"),
    ("RedundantTargetPlatform", 1, "FROM --platform=$TARGETPLATFORM a", "FROM a"),
    ("RedundantTargetPlatform", 1, "FROM --platform=${TARGETPLATFORM} a",
     "FROM --platform=$BUILDPLATFORM a"),
    ("SecretsUsedInArgOrEnv", 2, "FROM a\nARG API_KEY", "FROM a\nARG API_KEYS"),
    ("SecretsUsedInArgOrEnv", 2, "FROM a\nENV b_password=c", "FROM a\nENV PASSWORD_FILE=/c"),
    ("SecretsUsedInArgOrEnv", 1, "ARG TOKEN\nFROM a", "ARG PUBLIC_KEY\nFROM a"),
    ("InvalidDefaultArgInFrom", 2, "ARG T\nFROM a:$T", "ARG T=1\nFROM a:$T"),
    ("InvalidDefaultArgInFrom", 2, "ARG T=A\nFROM $T", "ARG T\nFROM a:${T:-1}"),
    ("FromPlatformFlagConstDisallowed", 1, "FROM --platform=linux/amd64 a",
     "FROM --platform=linux/amd64 a AS build-amd64"),
    ("CopyIgnoredFile", 2, "FROM a\nCOPY ignored b", "FROM a\nCOPY other b"),
    ("CopyIgnoredFile", 2, "FROM a\nADD ./ignored/x b", "FROM a\nCOPY --from=x ignored b"),
    ("ExposeProtoCasing", 2, "FROM a\nEXPOSE 80/TCP", "FROM a\nEXPOSE 80/tcp"),
    ("ExposeInvalidFormat", 2, "FROM a\nEXPOSE 80:80", "FROM a\nEXPOSE 80-90"),
    ("InvalidDefinitionDescription", 3,
     "# check=experimental=all\n# other\nARG b=c\nFROM a",
     "# check=experimental=all\n\n# b says\nARG b=c\n# other\n\nFROM a AS x"),
    ("InvalidDefinitionDescription", 4,
     "# check=experimental=InvalidDefinitionDescription\n\n# other\nFROM a AS b",
     "# other\nFROM a AS b"),
    ("MisspeltDirective", 1, "# ecsape=`\nFROM a", "# escape=`\nFROM a"),
]  # fmt: skip


@pytest.mark.parametrize("rule, line, bad, good", EXAMPLES)
def test_rules(rule, line, bad, good):
    patterns = ignore.read("ignored\n")
    assert rules(bad, ignore=patterns) == [(rule, line)]
    assert rules(good, ignore=patterns) == []


def test_every_rule_has_an_example():
    assert {example[0] for example in EXAMPLES} == set(lint.RULES)


def test_a_warning_shows_its_place():
    (found,) = check("FROM a\nENV b_token=c")
    assert str(found) == (
        "Containerfile:2:5: SecretsUsedInArgOrEnv: ENV is no place for a secret ('b_token'): "
        "it stays in the image\n    2 | ENV b_token=c\n      |     ^^^^^^^"
    )


def test_a_misspelt_variable_is_guessed():
    (found,) = check("FROM a\nARG VERSION=1\nENV X=$VERRSION")
    assert "did you mean $VERSION?" in found.text
    (found,) = check("ARG VERSION=1\nFROM a:${VERRSION:-2}")
    assert "did you mean VERSION?" in found.text


def test_variables_go_on_in_stages_made_of_stages():
    text = "FROM scratch AS x\nARG a=1\nENV b=2\nFROM X\nENV c=$a$b"
    assert rules(text) == []
    assert rules(text.replace("FROM X", "FROM scratch")) == [("UndefinedVar", 5)] * 2


def test_the_base_image_may_be_known():
    text = "FROM a\nENV x=$FROM_BASE y=$OTHER"
    assert rules(text) == []
    assert rules(text, base_env=lambda stage: ["FROM_BASE"]) == [("UndefinedVar", 2)]
    assert rules(text, base_env=lambda stage: None) == []


def test_an_ignore_file_with_negation_says_nothing():
    assert rules("FROM a\nCOPY b c", ignore=ignore.read("*\n!b")) == []
    assert rules("FROM a\nCOPY . c", ignore=ignore.read("*")) == [("CopyIgnoredFile", 2)]
    assert rules("FROM a\nCOPY . c", ignore=ignore.read("b")) == []


@pytest.mark.parametrize(
    "directive, left",
    [
        ("skip=all", []),
        ("skip=JSONArgsRecommended", ["FromAsCasing"]),
        ("skip=JSONArgsRecommended,FromAsCasing", []),
        ("skip=JSONArgsRecommended;error=true", ["FromAsCasing"]),
        ("error=true", ["FromAsCasing", "JSONArgsRecommended"]),
        ("skip=SomeRuleOfTomorrow", ["FromAsCasing", "JSONArgsRecommended"]),
        ("experimental=all", ["FromAsCasing", "JSONArgsRecommended"]),
    ],
)
def test_a_file_chooses(directive, left):
    text = f"# check={directive}\nFROM a as b\nCMD c"
    assert [rule for rule, _ in rules(text)] == left
    assert lint.options(parse.parse(text)).error == ("error=true" in directive)


@pytest.mark.parametrize(
    "directive, hint",
    [
        ("skp=all", "skip"),
        ("skip", "such as"),
        ("error=maybe", "such as"),
        ("skip=JSONArgsRecomended", "such as"),
        ("skip=", "such as"),
        ("skip=all;skip=all", "such as"),
    ],
)
def test_a_wrong_choice_is_an_error(directive, hint):
    with pytest.raises(BuildError, match="Containerfile:1:9: ") as error:
        rules(f"# check={directive}\nFROM a")
    assert hint in error.value.advice


def test_an_instruction_chooses_for_itself():
    text = "FROM a\n# check=skip=LegacyKeyValueFormat\nENV b c\nENV d e"
    assert rules(text) == [("LegacyKeyValueFormat", 4)]
    assert rules("FROM a\n# check=skip=all\nENV token c") == []
    assert rules("# x\n# check=skip=FromAsCasing\nFROM a as b") == []
