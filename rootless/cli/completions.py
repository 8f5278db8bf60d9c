"""Completions for bash, zsh and fish, made from the option table as plain shell files.

Commands, options and fixed values are in the files; only the names of containers, images
and volumes are asked from rl itself, through a hidden verb that loads as little as ``ps``.
"""

from rootless.cli import help, options
from rootless.cli.options.table import FLAG

KINDS = ("container", "image", "volume", "network", "any")


def files():
    """The files as they are installed: {path: text}."""
    return {"bash/rl": bash(), "zsh/_rl": zsh(), "fish/rl.fish": fish()}


def _verbs():
    """[(words as typed, Verb)] of what is offered, groups' spellings among them."""
    found = [(name, options.find(name)) for name in help.offered()]
    for group in options.GROUPS:
        found += [(name, options.find(name)) for name in help.members(group)
                  if name in options.ALIASES]  # fmt: skip
    return sorted(found)


def _first_words():
    words = {words.split()[0] for words, _ in _verbs()}
    return sorted(words | {"help"})


def _summary(word):
    if word in options.GROUPS:
        return options.GROUPS[word]
    return "Show help" if word == "help" else options.find(word).summary


def _rows(verb):
    return [row for row in verb.options if row.unavailable is None]


def _spellings(rows):
    return " ".join(name for row in rows for name in row.names)


# --- bash ----------------------------------------------------------------------------------

_BASH = r"""# bash completion for rl, made from its option table; do not edit
_rl_names() {
    local word=${cur}
    mapfile -t COMPREPLY < <(compgen -W "$(rl __complete "$1" 2>/dev/null)" -- "$word")
    __ltrim_colon_completions "$cur" 2>/dev/null
}

_rl_value() {
    case $1 in
        file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        dir) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        shell) mapfile -t COMPREPLY < <(compgen -W "bash zsh fish" -- "$cur") ;;
        =*) mapfile -t COMPREPLY < <(compgen -W "${1#=}" -- "$cur") ;;
        ?*) _rl_names "$1" ;;
    esac
}

# Sets options, flags, arguments (what completes them) and passthrough for the verb $1.
_rl_verb() {
    passthrough='' arguments='' flags='' values=''
    case $1 in
@VERBS@
        *) return 1 ;;
    esac
}

# What completes the value of the option $2 of the verb $1.
_rl_option() {
    case "$1 $2" in
@OPTIONS@
    esac
    case $2 in
@GLOBAL_OPTIONS@
    esac
}

_rl() {
    local cur prev words=("${COMP_WORDS[@]:0:COMP_CWORD}") verb='' word skip='' count=0
    local passthrough arguments flags values
    local global_flags='@GLOBAL_FLAGS@' global_values='@GLOBAL_VALUES@'
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD-1]}
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n =: cur prev
    fi
    flags='' values='' arguments='' passthrough=''
    for word in "${words[@]:1}"; do
        if [[ $skip ]]; then
            skip=''
        elif [[ $word == -* ]]; then
            case " $values $global_values " in *" $word "*) skip=$word ;; esac
        elif [[ ! $verb ]]; then
            verb=$word
            _rl_verb "$verb"
        elif [[ " @GROUPS@ " == *" $verb "* ]]; then
            verb+=" $word"
            _rl_verb "$verb"
        else
            ((count++))
            [[ $passthrough ]] && break
        fi
    done
    if [[ $passthrough ]] && ((count)); then
        if [[ $verb == exec || $verb == top || $verb == "container "* ]]; then return; fi
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    elif [[ $skip ]]; then
        _rl_value "$(_rl_option "$verb" "$skip")"
    elif [[ $cur == --*=* ]]; then
        local option=${cur%%=*}
        cur=${cur#*=}
        _rl_value "$(_rl_option "$verb" "$option")"
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags $values $global_flags $global_values --help" -- "$cur")
    elif [[ ! $verb || $verb == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W '@FIRST@' -- "$cur")
    else
        case $verb in
@MEMBERS@
            *) _rl_value "$arguments" ;;
        esac
    fi
}

complete -F _rl rl
"""  # noqa: E501


def _value_kind(row):
    return "=" + " ".join(row.choices) if row.choices else row.complete or ""


def bash():
    """The completion for bash."""
    verbs, rows, members = [], [], []
    for words, verb in _verbs():
        flags = _spellings(row for row in _rows(verb) if row.bare is not None)
        values = _spellings(row for row in _rows(verb) if row.bare is None)
        verbs.append(
            f"        {words.replace(' ', chr(92) + ' ')}) flags='{flags}' values='{values}'"
            f" arguments='{verb.complete or ''}' passthrough='{'1' if verb.passthrough else ''}' ;;"
        )
        for row in _rows(verb):
            if row.kind != FLAG and _value_kind(row):
                tests = "|".join(f"'{words} {name}'" for name in row.names)
                rows.append(f"        {tests}) echo '{_value_kind(row)}'; return ;;")
    for group in options.GROUPS:
        names = " ".join(name.split()[1] for name in help.members(group))
        if names:
            members.append(
                f"            {group}) mapfile -t COMPREPLY < <(compgen -W '{names}'"
                ' -- "$cur") ;;'
            )
    global_rows = [
        f"        {'|'.join(row.names)}) echo '{_value_kind(row)}' ;;"
        for row in options.GLOBALS if row.kind != FLAG
    ]  # fmt: skip
    return _fill(
        _BASH,
        VERBS="\n".join(verbs),
        OPTIONS="\n".join(rows),
        MEMBERS="\n".join(members),
        GLOBAL_OPTIONS="\n".join(global_rows),
        GLOBAL_FLAGS=_spellings(row for row in options.GLOBALS if row.kind == FLAG),
        GLOBAL_VALUES=_spellings(row for row in options.GLOBALS if row.kind != FLAG),
        GROUPS=" ".join(options.GROUPS),
        FIRST=" ".join(_first_words()),
    )


def _fill(text, **parts):
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text


# --- zsh -----------------------------------------------------------------------------------

_ZSH = r"""#compdef rl
# zsh completion for rl, made from its option table; do not edit
_rl_names() {
    local -a names
    names=(${(f)"$(_call_program names rl __complete $1 2>/dev/null)"})
    compadd -a names
}

_rl_globals=(
@GLOBALS@
)

_rl_commands() {
    local -a commands=(
@COMMANDS@
    )
    _describe command commands
}

_rl_group() {
    local -a commands
    case $1 in
@MEMBERS@
    esac
    _describe command commands
}

_rl_verb() {
    case $1 in
@VERBS@
    esac
}

_rl() {
    local curcontext=$curcontext state line verb
    _arguments -C -A '-*' $_rl_globals '(-v --version)'{-v,--version}'[Print the version of rl]' \
        '(-h --help)'{-h,--help}'[Show help]' '1: :_rl_commands' '*::argument:->rest'
    [[ $state == rest ]] || return
    verb=$line[1]
    if [[ " @GROUPS@ " == *" $verb "* ]]; then
        if ((CURRENT == 1)); then
            return
        elif ((CURRENT == 2)); then
            _rl_group $verb
            return
        fi
        verb="$verb $words[2]"
        shift words
        ((CURRENT--))
    elif [[ $verb == help ]]; then
        _rl_commands
        return
    fi
    _rl_verb $verb
}

_rl "$@"
"""


def _zsh_quote(text):
    for sign in "\\[]:":
        text = text.replace(sign, "\\" + sign)
    return text.replace("'", "'\\''")


def _zsh_kind(kind, metavar):
    what = _zsh_quote(metavar)
    if kind in KINDS:
        return f":{what}: _rl_names {kind}"  # the space: with these words and no others
    return {
        "file": f":{what}:_files",
        "dir": f":{what}:_files -/",
        "shell": f":{what}:(bash zsh fish)",
    }.get(kind, f":{what}: ")


def _zsh_row(row):
    text = _zsh_quote(row.help)
    value = ""
    if row.kind != FLAG:
        value = f":{_zsh_quote(row.metavar)}:({' '.join(row.choices)})" if row.choices else (
            _zsh_kind(row.complete, row.metavar)
        )  # fmt: skip
    again = row.kind in ("list", "words")
    out = []
    for name in row.names:
        others = "" if again or len(row.names) == 1 else f"({' '.join(row.names)})"
        equals = "" if row.kind == FLAG else ("=" if name.startswith("--") else "+")
        if value and row.bare is not None:
            # It may be left out, and stands in the same word.
            out.append(f"'{others}{name}=-[{text}]:{value}'")
            continue
        out.append(f"'{others}{'*' if again else ''}{name}{equals}[{text}]{value}'")
    return out


def zsh():
    """The completion for zsh."""
    verbs, members = [], []
    for words, verb in _verbs():
        rest = _zsh_kind(verb.complete, verb.arguments or " ")
        last = "'*: :_message \"no more arguments\"'"
        if verb.arguments:
            last = f"'*{rest}'"
        if verb.passthrough:
            last = f"'1{rest}' '*::command:_normal'"
        specs = [spec for row in _rows(verb) for spec in _zsh_row(row)]
        body = " \\\n                ".join([*specs, "$_rl_globals", "'--help[Show help]'", last])
        stop = " -A '-*'" if verb.passthrough else ""
        verbs += [f"        '{words}')", f"            _arguments -s{stop} \\",
                  f"                {body} ;;"]  # fmt: skip
    for group in options.GROUPS:
        names = " ".join(
            f"'{name.split()[1]}:{_zsh_quote(options.find(name).summary)}'"
            for name in help.members(group)
        )
        if names:
            members.append(f"        {group}) commands=({names}) ;;")
    return _fill(
        _ZSH,
        GLOBALS="\n".join(f"    {spec}" for row in options.GLOBALS for spec in _zsh_row(row)),
        COMMANDS="\n".join(
            f"        '{word}:{_zsh_quote(_summary(word))}'" for word in _first_words()
        ),
        MEMBERS="\n".join(members),
        VERBS="\n".join(verbs),
        GROUPS=" ".join(options.GROUPS),
    )


# --- fish ----------------------------------------------------------------------------------

_FISH = r"""# fish completion for rl, made from its option table; do not edit

# The verb that has been typed, one word or two.
function __rl_verb
    set -l words (commandline -opc)[2..-1]
    set -l verb
    set -l skip 0
    for word in $words
        if test $skip = 1
            set skip 0
        else if contains -- $word @GLOBAL_VALUES@
            set skip 1
        else if string match -q -- '-*' $word
            continue
        else if test -z "$verb"
            set verb $word
            contains -- $word @GROUPS@; or break
        else
            set verb "$verb $word"
            break
        end
    end
    echo $verb
end

function __rl_is
    test (__rl_verb) = "$argv"
end

complete -c rl -f
"""


def _fish_quote(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_value(row):
    if row.choices:
        return f" -x -a {_fish_quote(' '.join(row.choices))}"
    return _fish_kind(row.complete) or " -x"


def _fish_kind(kind):
    if kind in KINDS:
        return f" -x -a '(rl __complete {kind} 2>/dev/null)'"
    return {
        "file": " -r -F",
        "dir": " -x -a '(__fish_complete_directories)'",
        "shell": " -x -a 'bash zsh fish'",
    }.get(kind, "")


def _fish_row(row, condition):
    names = "".join(
        f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1]}" for name in row.names
    )
    value = "" if row.kind == FLAG else _fish_value(row)
    if value and row.bare is not None:
        value = value.replace(" -x", " -f")  # it may be left out
    return f"complete -c rl -n {condition}{names}{value} -d {_fish_quote(row.help)}"


def fish():
    """The completion for fish."""
    lines = [
        _fill(
            _FISH,
            GROUPS=" ".join(options.GROUPS),
            GLOBAL_VALUES=_spellings(row for row in options.GLOBALS if row.kind != FLAG),
        )
    ]
    for word in _first_words():
        lines.append(
            f"complete -c rl -n '__rl_is' -a {word} -d {_fish_quote(_summary(word))}"
        )
    for row in (*options.GLOBALS, options.VERSION):
        lines.append(_fish_row(row, "'__rl_is'"))
    for group in options.GROUPS:
        for name in help.members(group):
            lines.append(
                f"complete -c rl -n '__rl_is {group}' -a {name.split()[1]}"
                f" -d {_fish_quote(options.find(name).summary)}"
            )
    for words, verb in _verbs():
        condition = _fish_quote(f"__rl_is {words}")
        lines += [_fish_row(row, condition) for row in _rows(verb)]
        kind = _fish_kind(verb.complete) if verb.arguments else ""
        if kind:
            lines.append(f"complete -c rl -n {condition}{kind}")
    return "\n".join(lines) + "\n"
