"""--volume, --mount, --tmpfs, --volumes-from and the image's VOLUMEs as mount entries.

An entry is an OCI mount with these additions, for the engine and the runtime:

``type`` "volume"   a named volume, ``source`` its name; "" with ``anonymous`` true.  The
                    engine makes it a bind.  ``copy`` false: don't fill it from the image;
                    ``layered`` true: with a layer above, as for "overlay" (O)
``type`` "image"    the root of the image ``source``; writes are discarded
``type`` "overlay"  ``source`` with a layer above: ``upper`` and ``work`` if the user gave them
``chown``           "user": give the tree to the container's user first (U)
"""

import os

from rootless.engine.spec.values import container_path, csv, fail, number, size, truth
from rootless.errors import RlError

_ACCESS = {"ro": "rw", "rw": "ro"}
_SWITCHES = {
    "exec": "noexec", "noexec": "exec", "suid": "nosuid", "nosuid": "suid", "dev": "nodev",
    "nodev": "dev", **_ACCESS,
}
_PROPAGATION = frozenset(
    recursive + word
    for word in ("shared", "slave", "private", "unbindable")
    for recursive in ("", "r")
)
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_ATIME = ("noatime", "relatime", "strictatime", "nodiratime")
_TMPFS_VALUES = ("size", "mode", "nr_inodes", "nr_blocks", "uid", "gid")
_SHARED = (
    "mounts never travel from a user namespace to the machine; shared reaches only namespaces"
    " made inside the container"
)


class Duplicate(RlError):
    """{0} is mounted on twice: {1}"""

    hint = "give each directory of the container one mount"


class NoSource(RlError):
    """{0} {1}: {2}: {3}"""

    hint = "{4}"


class NoRelabel(RlError):
    """{0} {1}: SELinux is on, and rl does not set labels"""

    hint = "label it yourself, once: chcon -Rt container_file_t DIRECTORY; then leave z and Z out"


class NoIdmap(RlError):
    """{0} {1}: only root of the whole machine can make an idmapped mount"""

    hint = "U changes the owner of the files instead; --userns keep-id makes you yourself inside"


def wanted(request, image, host, others, warnings):
    """Every mount the user or the image asks for: (entries, those that others may take over).

    ``others`` is a function: the name given to --volumes-from → a list of entries of that
    container, as this function returned them second.  Raises BadOption, Duplicate, NoSource,
    NoRelabel, NoIdmap.
    """
    options = request.options
    found = {}
    for text in options.get("volume") or ():
        _add(found, "--volume", text, _volume(text, host, warnings))
    for text in options.get("mount") or ():
        _add(found, "--mount", text, _mount(text, host, warnings))
    for text in options.get("tmpfs") or ():
        _add(found, "--tmpfs", text, _tmpfs(text))
    inherited = {}
    for text in options.get("volumes_from") or ():
        for entry in _from(text, host, others):
            inherited[entry["destination"]] = entry
    for path, entry in {**_of_image(request, image), **inherited}.items():
        found.setdefault(path, entry)
    entries = list(found.values())
    return entries, [entry for entry in entries if entry["type"] not in ("tmpfs", "devpts")]


def _add(found, option, text, entry):
    path = entry["destination"]
    if path == "/":
        fail(option, text, "the root itself cannot be mounted on")
    if path in found:
        raise Duplicate(path, text)
    found[path] = entry


# --- -v ------------------------------------------------------------------------------------


def _volume(text, host, warnings):
    """[SOURCE:]DIR[:OPTIONS]."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        fail("--volume", text, "not a volume", "SOURCE:DIR[:OPTIONS], for example .:/work:ro")
    words = parts[2].split(",") if len(parts) == 3 else []
    if len(parts) == 1:
        source, inside = "", parts[0]
    else:
        source, inside = parts[:2]
    path = container_path("--volume", text, inside)
    if source[:1] in ("/", "."):
        kind = "overlay" if "O" in words else "bind"
        source = _source("--volume", text, source, host)
    else:
        kind = "volume"
        _check_name("--volume", text, source)
    entry = {"destination": path, "type": kind, "source": source, "options": []}
    if kind == "volume" and "O" in words:
        entry["layered"] = True
    _words("--volume", text, words, entry, host, warnings)
    if not source:
        entry["anonymous"] = True
    return _finish(entry)


def _check_name(option, text, name):
    if name and (not set(name) <= _NAME or name[0] in "_.-"):
        fail(option, text, f"{name!r} is not a name for a volume",
             "a directory begins with / or . ; a name has letters, digits, '_', '.' and '-'")


def _source(option, text, path, host):
    """An existing path of this machine, absolute."""
    absolute = os.path.normpath(os.path.join(host.cwd, path))
    try:
        os.stat(absolute)
    except OSError as error:
        hint = f"make it first: mkdir -p {absolute}"
        if not isinstance(error, FileNotFoundError):
            hint = "a rootless container sees what you yourself may see"
        raise NoSource(option, text, absolute, error.strerror, hint) from None
    return absolute


def _words(option, text, words, entry, host, warnings):
    """Sort the options of -v into ``entry``; every word is known, or it is an error."""
    chosen, extra = [], {}
    layered = entry["type"] == "overlay" or "layered" in entry
    for word in words:
        if word in _SWITCHES or word in ("bind", "rbind"):
            opposite = _SWITCHES.get(word) or ("rbind" if word == "bind" else "bind")
            if opposite in chosen:
                fail(option, text, f"{word} and {opposite} exclude each other")
            chosen.append(word)
        elif word in _PROPAGATION:
            if any(other in _PROPAGATION and other != word for other in chosen):
                fail(option, text, "there are two kinds of propagation")
            if entry["type"] != "bind":
                fail(option, text, f"{word} is for directories of this machine")
            _warn_shared(word, warnings)
            chosen.append(word)
        elif word in ("z", "Z"):
            _relabel(option, text, host)
        elif word == "U":
            entry["chown"] = "user"
        elif word in ("copy", "nocopy"):
            if entry["type"] != "volume":
                fail(option, text, f"{word} is for volumes with a name")
            entry["copy"] = word == "copy"
        elif word in ("idmap",) or word.startswith("idmap="):
            raise NoIdmap(option, text)
        elif word == "O":
            continue
        elif word.startswith(("upperdir=", "workdir=")) and layered:
            key, _, path = word.partition("=")
            extra[key.removesuffix("dir")] = _source(option, text, path, host)
        else:
            fail(option, text, f"unknown option {word!r}",
                 "ro, rw, U, O, z, Z, copy, [no]exec, [no]suid, [no]dev, [r]bind, [r]slave, …")
    if layered:
        if chosen or "copy" in entry or "chown" in entry:
            fail(option, text, "O goes with no other option but upperdir= and workdir=")
        if len(extra) == 1:
            fail(option, text, "upperdir= and workdir= are given together or not at all")
        entry.update(extra)
    entry["options"] += dict.fromkeys(chosen)


def _warn_shared(word, warnings):
    if word.endswith("shared") and _SHARED not in warnings:
        warnings.append(_SHARED)


def _relabel(option, text, host):
    """z and Z: nothing to do where SELinux is off."""
    if host.selinux:
        raise NoRelabel(option, text)


def _finish(entry):
    """Put the defaults around what the user chose."""
    words = entry["options"]
    if "layered" in entry:
        return entry
    if entry["type"] in ("bind", "volume"):
        if not {"bind", "rbind"} & set(words):
            words.insert(0, "rbind")
        if not _PROPAGATION & set(words):
            words.insert(1, "rprivate")
    if entry["type"] == "volume":
        # podman: a volume holds data.  A directory keeps what its own mount has.
        words += [no for no, yes in (("nosuid", "suid"), ("nodev", "dev"))
                  if no not in words and yes not in words]
        entry.setdefault("copy", True)
    return entry


# --- --mount -------------------------------------------------------------------------------

_KEYS = {
    "src": "source", "dst": "destination", "target": "destination", "readonly": "ro",
    "readwrite": "rw", "chown": "U",
}
_COMMON = ("type", "source", "destination", "ro", "rw", "U")
_ALLOWED = {
    "bind": ("bind-propagation", "bind-nonrecursive", "relabel", "idmap", *_SWITCHES),
    "volume": ("idmap", "copy", "nocopy", "relabel", *_SWITCHES),
    "tmpfs": ("tmpfs-size", "tmpfs-mode", "tmpcopyup", "notmpcopyup", *_SWITCHES),
    "image": (),
    "devpts": ("uid", "gid", "mode", "max"),
}


def _mount(text, host, warnings):
    """type=TYPE,KEY=VALUE,…"""
    given = {}
    for field in csv("--mount", text):
        key, equals, value = field.partition("=")
        key = _KEYS.get(key, key)
        if key in given:
            fail("--mount", text, f"{key} is given twice")
        given[key] = value if equals else None
    kind = given.pop("type", None) or "volume"
    if kind not in _ALLOWED:
        fail("--mount", text, f"there is no type {kind!r}",
             "type=bind, volume, tmpfs, image or devpts")
    for key in given:
        if key not in _COMMON and key not in _ALLOWED[kind]:
            fail("--mount", text, f"{key!r} is not an option of type={kind}")
    if not given.get("destination"):
        fail("--mount", text, "there is no destination", "add dst=/DIRECTORY of the container")
    path = container_path("--mount", text, given.pop("destination"))
    entry = {"destination": path, "type": kind, "source": given.pop("source", None) or "",
             "options": []}
    return _MAKERS[kind](text, entry, given, host, warnings)


def _flags(text, given, names):
    """The words for switches: ``ro``, ``ro=true`` and ``ro=false`` all have a meaning."""
    words = []
    for name in names:
        if name in given:
            on = truth("--mount", name, given.pop(name))
            words.append(name if on else _SWITCHES[name])
    for word in words:
        if _SWITCHES[word] in words:
            fail("--mount", text, f"{word} and {_SWITCHES[word]} exclude each other")
    return list(dict.fromkeys(words))


def _chown(entry, given):
    if "U" in given and truth("--mount", "U", given.pop("U")):
        entry["chown"] = "user"


def _mount_bind(text, entry, given, host, warnings):
    if not entry["source"]:
        fail("--mount", text, "there is no source", "add src=/DIRECTORY of this machine")
    entry["source"] = _source("--mount", text, entry["source"], host)
    words = _flags(text, given, _SWITCHES)
    _chown(entry, given)
    if "relabel" in given:
        if given["relabel"] not in ("shared", "private"):
            fail("--mount", text, "relabel is shared or private")
        _relabel("--mount", text, host)
    if "idmap" in given and (given["idmap"] or "").lower() not in ("false", "0"):
        raise NoIdmap("--mount", text)
    if "bind-nonrecursive" in given:
        alone = truth("--mount", "bind-nonrecursive", given["bind-nonrecursive"])
        words.append("bind" if alone else "rbind")
    if "bind-propagation" in given:
        word = given["bind-propagation"]
        if word not in _PROPAGATION:
            fail("--mount", text, f"bind-propagation cannot be {word!r}",
                 "[r]private, [r]slave, [r]shared or [r]unbindable")
        _warn_shared(word, warnings)
        words.append(word)
    entry["options"] = words
    return _finish(entry)


def _mount_volume(text, entry, given, host, warnings):
    _check_name("--mount", text, entry["source"])
    if not entry["source"]:
        entry["anonymous"] = True
    _chown(entry, given)
    if "relabel" in given:
        _relabel("--mount", text, host)
    if "idmap" in given and (given["idmap"] or "").lower() not in ("false", "0"):
        raise NoIdmap("--mount", text)
    for key in ("copy", "nocopy"):
        if key in given:
            entry["copy"] = truth("--mount", key, given[key]) == (key == "copy")
    entry["options"] = _flags(text, given, _SWITCHES)
    return _finish(entry)


def _mount_tmpfs(text, entry, given, host, warnings):
    if entry["source"]:
        fail("--mount", text, "a tmpfs has no source")
    words = _flags(text, given, _SWITCHES)
    _chown(entry, given)
    if "tmpfs-size" in given:
        words.append(f"size={size('--mount', given['tmpfs-size'] or '')}")
    if "tmpfs-mode" in given:
        mode = number("--mount", given["tmpfs-mode"] or "", 0, 0o7777, 8)
        words.append(f"mode={mode:o}")
    copies = [key for key in ("tmpcopyup", "notmpcopyup") if key in given]
    for key in copies:
        if not truth("--mount", key, given[key]):
            fail("--mount", text, f"write {'no' if key == 'tmpcopyup' else ''}tmpcopyup alone")
    if len(copies) == 2:
        fail("--mount", text, "tmpcopyup and notmpcopyup exclude each other")
    return _finish_tmpfs(entry, [*words, *copies])


def _mount_image(text, entry, given, host, warnings):
    if not entry["source"]:
        fail("--mount", text, "there is no source", "add src=IMAGE")
    if "U" in given:
        fail("--mount", text, "'U' is not an option of type=image")
    write = "rw" in given and truth("--mount", "rw", given["rw"])
    if "ro" in given and truth("--mount", "ro", given["ro"]) == write:
        fail("--mount", text, "ro and rw exclude each other")
    entry["options"] = ["rw" if write else "ro"]
    return entry


def _mount_devpts(text, entry, given, host, warnings):
    for key in ("ro", "rw", "U"):
        if key in given:
            fail("--mount", text, f"{key!r} is not an option of type=devpts")
    if entry["source"]:
        fail("--mount", text, "a devpts has no source")
    words = ["nosuid", "noexec", "newinstance", "ptmxmode=0666"]
    for key, base, most in (("uid", 10, 1 << 31), ("gid", 10, 1 << 31), ("mode", 8, 0o777),
                            ("max", 10, 1 << 20)):
        if key in given:
            value = number("--mount", given[key] or "", 0, most, base)
            words.append(f"{key}={value:o}" if base == 8 else f"{key}={value}")
    return {**entry, "source": "devpts", "options": words}


_MAKERS = {
    "bind": _mount_bind,
    "volume": _mount_volume,
    "tmpfs": _mount_tmpfs,
    "image": _mount_image,
    "devpts": _mount_devpts,
}


# --- --tmpfs -------------------------------------------------------------------------------


def _tmpfs(text):
    """DIR[:OPTIONS]."""
    inside, _, rest = text.partition(":")
    path = container_path("--tmpfs", text, inside)
    entry = {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": []}
    words = []
    for word in filter(None, rest.split(",")):
        key, equals, value = word.partition("=")
        if word in _SWITCHES:
            if _SWITCHES[word] in words:
                fail("--tmpfs", text, f"{word} and {_SWITCHES[word]} exclude each other")
            words.append(word)
        elif word in _ATIME or word in ("tmpcopyup", "notmpcopyup"):
            words.append(word)
        elif word == "U":
            entry["chown"] = "user"
        elif equals and key in _TMPFS_VALUES:
            words.append(f"{key}={_tmpfs_value(text, key, value)}")
        else:
            fail("--tmpfs", text, f"unknown option {word!r}",
                 "rw, ro, [no]exec, [no]suid, [no]dev, size=, mode=, nr_inodes=, uid=, gid=, …")
    if {"tmpcopyup", "notmpcopyup"} <= set(words):
        fail("--tmpfs", text, "tmpcopyup and notmpcopyup exclude each other")
    return _finish_tmpfs(entry, words)


def _tmpfs_value(text, key, value):
    if key == "size" and value.endswith("%"):
        return f"{number('--tmpfs', value[:-1], 1, 100)}%"
    if key in ("size", "nr_inodes", "nr_blocks"):
        return size("--tmpfs", value)
    if key == "mode":
        return f"{number('--tmpfs', value, 0, 0o7777, 8):o}"
    return number("--tmpfs", value, 0, (1 << 31) - 1)


def _finish_tmpfs(entry, words):
    entry["source"] = "tmpfs"
    for no, yes in (("nosuid", "suid"), ("nodev", "dev")):
        if no not in words and yes not in words:
            words.append(no)
    if "notmpcopyup" in words:
        words.remove("notmpcopyup")
    elif "tmpcopyup" not in words:
        words.append("tmpcopyup")
    entry["options"] = list(dict.fromkeys(words))
    return entry


# --- from the image, from other containers ---------------------------------------------------


def _of_image(request, image):
    """The image's VOLUMEs by path, as --image-volume says."""
    mode = request.options.get("image_volume") or "anonymous"
    found = {}
    if mode == "ignore":
        return found
    for declared in sorted(image.get("Volumes") or ()):
        if "\0" in declared or "\n" in declared or not declared.strip("/. "):
            fail("--image-volume", mode, f"the image declares {declared!r} a volume",
                 "--image-volume ignore does without the image's volumes")
        path = container_path("--image-volume", mode, "/" + declared)
        if mode == "tmpfs":
            entry = {"destination": path, "type": "tmpfs", "source": "", "options": []}
            found[path] = _finish_tmpfs(entry, [])
        else:
            entry = {"destination": path, "type": "volume", "source": "", "options": [],
                     "anonymous": True}
            found[path] = _finish(entry)
    return found


def _from(text, host, others):
    """CONTAINER[:OPTIONS]: the mounts of another container, as they are there or ro or rw."""
    name, _, rest = text.partition(":")
    words = rest.split(",") if rest else []
    for word in words:
        if word in ("z", "Z"):
            _relabel("--volumes-from", text, host)
        elif word not in _ACCESS or _ACCESS[word] in words:
            fail("--volumes-from", text, f"{word!r} is not possible here", "ro, rw or z")
    access = next((word for word in words if word in _ACCESS), None)
    found = []
    for entry in others(name):
        entry = {key: value for key, value in entry.items() if key != "chown"}
        if access:
            kept = [word for word in entry["options"] if word not in _ACCESS]
            entry["options"] = [*kept, access]
        found.append(entry)
    return found
