"""What comes after the last instruction: --label, --env, annotations, one layer of several."""

from rootless import __version__
from rootless.build.solve.cache import key_of
from rootless.build.solve.stage import stamp
from rootless.errors import RlError

_NOP = "/bin/sh -c #(nop) "
IDENTITY = "io.rl.version"
CREATED = "org.opencontainers.image.created"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
# Options that make another image of the base's even if no instruction does anything.
_OTHER_IMAGE = ("annotation", "unsetannotation", "created_annotation", "os_version", "os_feature",
                "squash_all")  # fmt: skip


class BadPair(RlError):
    """{option} {text!r} has no name"""

    hint = "{option} NAME=VALUE"


class OciOnly(RlError):
    """--{0}: images in Docker's format have no annotations"""

    hint = "--label puts it into the configuration, --format oci has annotations"


def change(stage, options, environ):
    """Carry out the options that change the configuration of the last stage (StageBuild)."""
    state = stage.state
    _system(state, options)
    env = _pairs(options.env, "--env", environ)
    if env:
        state.set_env(env)
        stage.add(["env", env], f"{_NOP}ENV {_shown(env)}")
    if options.unsetenv:
        gone = set(options.unsetenv)
        state.put("Env", [entry for entry in state.config.get("Env") or ()
                          if entry.partition("=")[0] not in gone])  # fmt: skip
        stage.add(["unsetenv", sorted(gone)], f"{_NOP}UNSETENV {' '.join(sorted(gone))}")
    labels = dict(state.config.get("Labels") or {})
    gone = [name for name in options.unsetlabel if labels.pop(name, None) is not None]
    if gone:
        state.put("Labels", labels)
        stage.add(["unsetlabel", sorted(gone)], f"{_NOP}UNSETLABEL {' '.join(sorted(gone))}")
    pairs = _pairs(options.label, "--label")
    if options.identity_label:
        pairs.append([IDENTITY, __version__])
    if pairs:
        state.put("Labels", {**labels, **dict(pairs)})
        stage.add(["label", pairs], f"{_NOP}LABEL {_shown(pairs)}")


def _system(state, options):
    """--os-version and --os-feature."""
    if options.os_version is not None:
        state.extra["os.version"] = options.os_version
    if options.os_feature:
        features = list(state.extra.get("os.features") or ())
        for text in options.os_feature:
            name = text.removesuffix("-")
            features = [one for one in features if one != name]
            if text == name:
                features.append(name)
        state.extra["os.features"] = features


def _pairs(texts, option, environ=None):
    """[[name, value], …]; a name alone has the value of ``environ``, or an empty one."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise BadPair(option=option, text=text)
        if not equals and environ is not None:
            if name not in environ:
                continue
            value = environ[name]
        found[name] = value
    return [list(pair) for pair in found.items()]


def _shown(pairs):
    from rootless.model import jsontext

    return " ".join(f"{jsontext.dumps(name)}={jsontext.dumps(value)}" for name, value in pairs)


def annotations(options, state):
    """{name: value} for the manifest: the base's, its name, those of --annotation."""
    if options.format == "docker":
        for name in ("annotation", "created_annotation"):
            if getattr(options, name):
                raise OciOnly(name.replace("_", "-"))
        return {}
    found = dict(state.base.get("annotations") or {}) if options.inherit_annotations else {}
    if state.base:
        found[BASE_NAME], found[BASE_DIGEST] = state.base["name"], state.base["digest"]
    if options.created_annotation:
        found[CREATED] = state.created or stamp()
    for name in options.unsetannotation:
        found.pop(name, None)
    found.update(_pairs(options.annotation, "--annotation"))
    return found


def is_base(state, options, media_type):
    """Whether nothing was done to the base image: then it is the result, as buildah has it."""
    return bool(
        state.base
        and not state.changed
        and options.inherit_labels
        and options.inherit_annotations
        and not any(getattr(options, name) for name in _OTHER_IMAGE)
        and state.base["media_type"] == media_type
    )


def squash(store, cache, state, options, times):
    """Make one layer of the new ones (--squash, --layers=false), or of all (--squash-all)."""
    whole = options.squash_all
    count = len(state.layers) if whole else state.fresh
    if not (whole or options.squash or not options.layers):
        return
    if count > 1:
        upper = state.diff_ids[-count:]
        key = key_of("squash", upper, count == len(state.layers), times.epoch)
        record = cache.find(key)
        if record is None:
            record = {"parent": "", "text": "one layer of several", "created": stamp(times.epoch),
                      "layer": _merged(store, upper, count == len(state.layers))}  # fmt: skip
            cache.note(key, record)
        del state.layers[-count:]
        state.fresh = 0
        state.add_layer(record["layer"])
    _one_entry(state, whole, count)


def _merged(store, diff_ids, bottom):
    from rootless.image.trouble import full_disk
    from rootless.store import merge

    paths = store.layers.paths(diff_ids)
    with full_disk(), store.layers.adopt(compress=False) as adopt:
        merge.export_stacked(store, paths, adopt.write, bottom)
        return adopt.finish()


def _one_entry(state, whole, count):
    """Let the history say that there is one new layer."""
    entries = state.history if whole else state.history[state.origin[1] :]
    for entry in entries:
        entry["empty_layer"] = True
    if entries and count:
        entries[-1].pop("empty_layer")
