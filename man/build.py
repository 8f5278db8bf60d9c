"""Makes the man pages and the completions: python3 man/build.py PAGES [COMPLETIONS]

Names, synopsis and options of a page come from the option table (rootless/cli/options), the
rest from man/rl-VERB.md.  The table's rows are the only place where an option is written
down, so no page can list one that isn't there.

A page's text is a small part of Markdown: ``# SECTION``, ``## --option`` (more about one
option), ``### Heading``, paragraphs, ``- `` items, blocks indented by four spaces, `code`,
**bold** and *placeholder*.  The converters that exist read all of Markdown and know nothing
of options; this one is shorter than the glue to one of them, and building needs no network.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(_HERE))

from rootless import __version__  # noqa: E402
from rootless.cli import completions, help, options  # noqa: E402
from rootless.cli.options.table import FLAG, LIST, WORDS  # noqa: E402

# Where they stand in a page; a text may have others, which follow DESCRIPTION.
_LAST = ("EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "NOTES", "SEE ALSO")


class PageError(Exception):
    """A text that doesn't fit the table, or isn't what this reads."""


# --- roff ----------------------------------------------------------------------------------

_SIGNS = {
    "\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti",
}  # fmt: skip


def code(text):
    """``text`` as it has to be typed: no sign of it turned into a nicer one."""
    return "".join(_SIGNS.get(char) or _ascii(char) for char in text)


def prose(text):
    """``text`` as words of a sentence."""
    return "".join(
        char if char in "-'" else _SIGNS.get(char) or _ascii(char) for char in text
    )


def _ascii(char):
    return char if ord(char) < 128 else f"\\[u{ord(char):04X}]"


def inline(text):
    """One paragraph's `code`, **bold** and *placeholder* as roff."""
    out, rest = [], text
    while rest:
        at, mark = min(
            ((rest.find(mark), mark) for mark in ("`", "**", "*") if mark in rest),
            key=lambda found: (found[0], -len(found[1])),
            default=(-1, ""),
        )
        if at < 0:
            out.append(prose(rest))
            break
        end = rest.find(mark, at + len(mark))
        if end < 0:
            raise PageError(f"{mark} is not closed: {text}")
        inner = rest[at + len(mark) : end]
        out.append(prose(rest[:at]))
        font = "I" if mark == "*" else "B"
        out.append(rf"\f{font}{code(inner) if mark == '`' else prose(inner)}\fP")
        rest = rest[end + len(mark) :]
    return guard("".join(out))


def guard(line):
    """A line of text that roff won't take for a request."""
    return r"\&" + line if line[:1] in (".", "'") else line


# --- a page's text -------------------------------------------------------------------------


def read(path):
    """The file as {section: [block]}, and {option: [block]} of its ``## --option`` parts.

    A block is ("text" | "item" | "code" | "heading", str).
    """
    sections, extra, blocks = {}, {}, None
    paragraph = []

    def end():
        if paragraph:
            blocks.append(("text", " ".join(paragraph)))
            paragraph.clear()

    with open(path, encoding="utf-8") as file:
        for line in file.read().splitlines():
            if line.startswith("# "):
                end()
                blocks = sections.setdefault(line[2:].strip(), [])
            elif line.startswith("## "):
                end()
                blocks = extra.setdefault(line[3:].strip(), [])
            elif blocks is None:
                if line.strip():
                    raise PageError(f"{path}: text before the first # SECTION")
            elif line.startswith("### "):
                end()
                blocks.append(("heading", line[4:].strip()))
            elif line.startswith("    ") and not paragraph and not _continues(blocks, line):
                _add_code(blocks, line[4:])
            elif line.startswith("- "):
                end()
                blocks.append(("item", line[2:].strip()))
            elif line.startswith("  ") and blocks and blocks[-1][0] == "item" and not paragraph:
                blocks[-1] = ("item", f"{blocks[-1][1]} {line.strip()}")
            elif line.strip():
                paragraph.append(line.strip())
            else:
                end()
                if blocks and blocks[-1][0] == "code":
                    blocks.append(("gap", ""))
                elif blocks and blocks[-1][0] == "item":
                    blocks.append(("gap", ""))
        if blocks is not None:
            end()
    return sections, extra


def _continues(blocks, line):
    return bool(blocks) and blocks[-1][0] == "item"


def _add_code(blocks, line):
    if len(blocks) > 1 and blocks[-1][0] == "gap" and blocks[-2][0] == "code":
        blocks.pop()
        blocks[-1] = ("code", f"{blocks[-1][1]}\n\n{line}")
    elif blocks and blocks[-1][0] == "code":
        blocks[-1] = ("code", f"{blocks[-1][1]}\n{line}")
    else:
        blocks.append(("code", line))


def body(blocks):
    """Blocks as lines of roff."""
    lines = []
    for index, (kind, text) in enumerate(blocks):
        if kind == "text":
            lines += [".PP"] if index else []
            lines.append(inline(text))
        elif kind == "heading":
            lines.append(f".SS {prose(text)}")
        elif kind == "item":
            lines += [r".IP \[u2022] 2", inline(text)]
        elif kind == "code":
            lines += [".PP", ".RS 4", ".nf"]
            lines += [guard(code(line)) for line in text.split("\n")]
            lines += [".fi", ".RE"]
    return lines


# --- pages ---------------------------------------------------------------------------------


def _head(name, summary):
    title = name.replace(" ", "-").upper()
    summary = summary[:1].lower() + summary[1:] if summary[1:2].islower() else summary
    return [
        r".\" made by man/build.py from the option table",
        f'.TH "{code(title)}" 1 "" "rl {__version__}" "rl"',
        ".SH NAME",
        f"{code(name.replace(' ', '-'))} \\- {prose(summary)}",
    ]


def option_entry(row, extra):
    """The roff of one option: how it is written, what it does."""
    names = [rf"\fB{code(name)}\fP" for name in row.names]
    if row.metavar:
        metavar = rf"\fI{code(row.metavar)}\fP"
        if row.bare is not None:
            names[-1] += f"[={metavar}]"
        else:
            names[-1] += ("=" if row.names[-1].startswith("--") else " ") + metavar
    lines = [".TP", ", ".join(names)]
    sentence = row.help + "."
    if row.kind == FLAG and row.default:
        sentence += f" It is on by default: `{row.names[-1]}=false` turns it off."
    if row.kind == LIST:
        sentence += " May be repeated."
    if row.kind == WORDS:
        sentence += " May be repeated, or given a list: `a,b`."
    lines.append(inline(sentence))
    # The paragraphs below stand as far in as the sentence.
    return [*lines, ".RS", ".PP", *body(extra), ".RE"] if extra else lines


def _options(verb, extra):
    lines, unused = [], dict(extra)
    groups = help.groups(verb)
    if not groups:
        return [], unused
    lines.append(".SH OPTIONS")
    for heading, rows in groups:
        if len(groups) > 1:
            lines.append(f".SS {prose(heading)}")
        for row in sorted(rows, key=lambda row: row.name) if len(groups) == 1 else rows:
            more = next((unused.pop(name) for name in row.names if name in unused), [])
            lines += option_entry(row, more)
    return lines, unused


def _section(name, blocks):
    return [f".SH {prose(name)}", *body(blocks)]


def verb_page(verb, path):
    """The man page of a verb, as str."""
    sections, extra = read(path)
    if "DESCRIPTION" not in sections:
        raise PageError(f"{path}: there is no # DESCRIPTION")
    lines = _head(f"rl {verb.name}", verb.summary)
    lines.append(".SH SYNOPSIS")
    for name in (verb.name, *help.aliases(verb)):
        words = [rf"\fBrl {code(name)}\fP"]
        if help.groups(verb):
            words.append(r"[\fIoptions\fP]")
        if verb.arguments:
            words.append(rf"\fI{code(verb.arguments)}\fP")
        lines += [" ".join(words), ".br"]
    lines.pop()
    lines += _section("DESCRIPTION", sections.pop("DESCRIPTION"))
    for name in [name for name in sections if name not in _LAST]:
        lines += _section(name, sections.pop(name))
    found, unused = _options(verb, extra)
    if unused:
        raise PageError(f"{path}: rl {verb.name} has no {', '.join(unused)}")
    lines += found
    see = sections.pop("SEE ALSO", [("text", "`rl(1)`")])
    examples = sections.pop("EXAMPLES", [])
    for name in _LAST:
        if name in sections:
            lines += _section(name, sections[name])
    lines += _examples(verb, examples)
    lines += _section("SEE ALSO", see)
    return "\n".join(lines) + "\n"


def _examples(verb, blocks):
    made = []
    for what, command in verb.examples:
        if what:
            made.append(("text", f"{what}:"))
        made.append(("code", command))
    made += blocks
    return _section("EXAMPLES", made) if made else []


def group_page(group):
    """The man page of a group of verbs, as str."""
    lines = _head(f"rl {group}", options.GROUPS[group])
    lines += [".SH SYNOPSIS", rf"\fBrl {group}\fP \fIcommand\fP [\fIargument\fP...]"]
    lines += [".SH COMMANDS"]
    for name in help.members(group):
        verb = options.find(name)
        lines += [".TP", rf"\fBrl {code(name)}\fP", f"{prose(verb.summary)}; see {_see(verb)}."]
    lines += [".SH SEE ALSO", r"\fBrl\fP(1)"]
    return "\n".join(lines) + "\n"


def _see(verb):
    return rf"\fBrl\-{code(verb.name.replace(' ', '-'))}\fP(1)"


def root_page(path):
    """The man page of rl itself, as str."""
    sections, extra = read(path)
    if extra:
        raise PageError(f"{path}: options of rl are told in one line: {', '.join(extra)}")
    lines = _head("rl", "containers without root and without a daemon")
    lines += [".SH SYNOPSIS", r"\fBrl\fP [\fIoptions\fP] \fIcommand\fP [\fIargument\fP...]"]
    lines += _section("DESCRIPTION", sections.pop("DESCRIPTION"))
    lines += [".SH COMMANDS"]
    built = help.offered()
    for heading, names in help.SECTIONS:
        found = [name for name in names.split() if name in built]
        lines += [f".SS {prose(heading)}"] if found else []
        for name in found:
            verb = options.find(name)
            lines += [".TP", _see(verb), prose(verb.summary) + "."]
    lines += [".SS Groups of commands"]
    for group, what in options.GROUPS.items():
        if help.members(group):
            lines += [".TP", rf"\fBrl\-{group}\fP(1)", prose(what) + "."]
    lines += [".SH OPTIONS"]
    for row in (*options.GLOBALS, options.VERSION):
        lines += option_entry(row, [])
    lines += [".TP", r"\fB\-h\fP, \fB\-\-help\fP", "Show a short help; also after a command."]
    for name in [name for name in sections if name not in _LAST]:
        lines += _section(name, sections.pop(name))
    for name in _LAST:
        if name in sections:
            lines += _section(name, sections[name])
    return "\n".join(lines) + "\n"


def pages():
    """Every page of this version: {file name: str}."""
    found = {"rl.1": root_page(f"{_HERE}/rl.md")}
    for name in help.offered():
        page = f"rl-{name.replace(' ', '-')}"
        found[f"{page}.1"] = verb_page(options.find(name), f"{_HERE}/{page}.md")
    for group in options.GROUPS:
        if help.members(group):
            found[f"rl-{group}.1"] = group_page(group)
    return found


def write(directory, files):
    """Write {path below ``directory``: text}."""
    for name, text in files.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def main(argv):
    """See the head of this file."""
    if not 2 <= len(argv) <= 3:
        sys.exit("usage: python3 man/build.py PAGES [COMPLETIONS]")
    try:
        write(argv[1], pages())
        if len(argv) == 3:
            write(argv[2], completions.files())
    except (OSError, PageError) as error:
        sys.exit(f"man/build.py: {error}")


if __name__ == "__main__":
    main(sys.argv)
