"""Words: flags before the arguments, words that keep their quotes, words of a heredoc.

These don't put in variables; ``expand`` does. Quotes are ``'`` and ``"``; the escape
character takes the meaning from the character behind it, but not inside single quotes.
"""

from rootless.build.language import expand


def flags(text, start, escape):
    """The ``--name=value`` words from ``start`` on, without their quotes and escapes.

    Returns (list of (word, offset), offset of what comes behind them). A word ``--`` ends
    them and is left out.
    """
    found = []
    at = start
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith("--", at):
            return found, at
        begin = at
        word, at = _unquoted(text, at, escape)
        if word == "--":
            return found, at
        found.append((word, begin))


def _unquoted(text, at, escape):
    """(the word that begins at ``at`` without quotes and escapes, where it ends)."""
    word, quote = [], None
    while at < len(text):
        char = text[at]
        if char == escape:
            word.append(text[at + 1 : at + 2])
            at += 2
            continue
        if quote:
            if char == quote:
                quote = None
            else:
                word.append(char)
        elif char.isspace():
            break
        elif char in "'\"":
            quote = char
        else:
            word.append(char)
        at += 1
    return "".join(word), min(at, len(text))


def split(text, escape):
    """``text`` split at spaces outside quotes; quotes and escapes stay in the words."""
    words, word, quote, at = [], [], None, 0
    while at < len(text):
        char = text[at]
        if quote is None and char.isspace():
            if word:
                words.append("".join(word))
                word = []
        elif char == escape and quote != "'":
            if at + 1 == len(text):
                break  # one at the very end means nothing
            at += 1
            word += (char, text[at])
        else:
            if quote is None and char in "'\"":
                quote = char
            elif char == quote:
                quote = None
            word.append(char)
        at += 1
    if word:
        words.append("".join(word))
    return words


def fields(text):
    """``text`` split at runs of spaces, whatever the quotes: FROM, EXPOSE, COPY."""
    return text.split()


def heredocs(line):
    """The heredocs that a line of RUN, COPY or ADD asks for: list of (name, expand, chomp)."""
    found = []
    for word in expand.raw_words(line):
        heredoc = heredoc_word(word)
        if heredoc:
            found.append(heredoc)
    return found


def raw_heredocs(line):
    """The words of ``line`` that are heredocs, as written."""
    return [word for word in expand.raw_words(line) if heredoc_word(word)]


def heredoc_word(word):
    """(name, expand, chomp) if ``word`` is like ``<<NAME``, ``<<-NAME``, ``3<<"NAME"``."""
    rest = word.lstrip("0123456789")
    if not rest.startswith("<<") or "<" in rest[2:]:
        return None
    rest = rest[2:]
    chomp = rest.startswith("-")
    rest = rest[1:].lstrip() if chomp else rest.lstrip()
    try:
        names = expand.words(rest, _nothing, "\\", keep_unset=True)
    except expand.BadExpansion:
        return None
    if len(names) != 1:
        return None
    return names[0], not any(quote in rest for quote in "'\""), chomp


def _nothing(name):
    return None
