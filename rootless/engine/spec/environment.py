"""The environment of the container's program (podman-run(1), ENVIRONMENT).  Pure.

Later sources win: rl's own defaults, the image, --env-merge, the proxies, --env-host,
--env-file, --env.  HOME is not made here: it is in the image's passwd.
"""

from rootless.engine.spec.values import fail, read_lines

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


def make(request, image, host, hostname, more=None):
    """The environment as a dict in order, and whether HOME may be added (bool).

    ``image`` is the image's ``config`` object, ``hostname`` the container's host name,
    ``more`` what rl itself adds (dict).  Raises BadOption.
    """
    options = request.options
    environ = {"PATH": PATH, "container": "rl", "HOSTNAME": hostname, **(more or {})}
    if options.get("tty"):
        environ["TERM"] = "xterm"
    environ.update(image_entries(image))
    home = True
    if options.get("unsetenv_all"):
        environ, home = {}, False
    for name in options.get("unsetenv") or ():
        environ.pop(name, None)
        home = home and name != "HOME"
    for entry in options.get("env_merge") or ():
        name, equals, value = entry.partition("=")
        if not name or not equals:
            fail("--env-merge", repr(entry), "not NAME=VALUE")
        environ[name] = expand(value, environ)
    if options.get("http_proxy", True):
        for name in _PROXIES:
            for spelled in (name, name.upper()):
                if spelled in host.environ:
                    environ[spelled] = host.environ[spelled]
    if options.get("env_host"):
        environ.update(host.environ)
    add_given(environ, options, host.environ)
    return environ, home


def add_given(environ, options, theirs):
    """Add what --env-file and --env say; ``theirs`` is the caller's environment."""
    for path in options.get("env_file") or ():
        _file(environ, path, theirs)
    for entry in options.get("env") or ():
        _entry(environ, "--env", entry, theirs)


def image_entries(image):
    """NAME=VALUE entries of an image as a dict; what is anything else is left out.

    An entry without "=" would take over the host's variable (CVE-2026-57231).
    """
    found = {}
    for entry in image.get("Env") or ():
        name, equals, value = entry.partition("=")
        if name and equals and "\0" not in entry:
            found[name] = value
    return found


def _entry(environ, option, entry, theirs):
    """NAME=VALUE; NAME takes over the caller's if set; PREFIX* every one of the caller's."""
    name, equals, value = entry.partition("=")
    if not name or "\0" in entry:
        fail(option, repr(entry), "not a variable", "write NAME=VALUE, or NAME to take over yours")
    if equals:
        environ[name] = value
    elif name.endswith("*"):
        environ.update({key: text for key, text in theirs.items() if key.startswith(name[:-1])})
    elif name in theirs:
        environ[name] = theirs[name]


def _file(environ, path, theirs):
    """Lines as docker has them: # comments, no quotes, everything behind = is the value."""
    for number, line in enumerate(read_lines("--env-file", path), 1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name:
            fail("--env-file", f"{path} line {number}", "there is no name before =")
        if any(character.isspace() for character in name):
            fail("--env-file", f"{path} line {number}", f"the name {name!r} has a space in it",
                 "a line is NAME=VALUE, without export and without spaces around =")
        _entry(environ, "--env-file", line, theirs)


def expand(text, environ):
    """``text`` with $NAME and ${NAME} replaced; a variable that isn't there is empty."""
    found, position = "", 0
    while position < len(text):
        mark = text.find("$", position)
        if mark < 0:
            break
        found += text[position:mark]
        if text[mark + 1 : mark + 2] == "{" and "}" in text[mark:]:
            end = text.index("}", mark)
            found += environ.get(text[mark + 2 : end], "")
            position = end + 1
            continue
        end = mark + 1
        while end < len(text) and (text[end].isascii() and text[end].isalnum() or text[end] == "_"):
            end += 1
        found += environ.get(text[mark + 1 : end], "") if end > mark + 1 else "$"
        position = end
    return found + text[position:]
