"""What everybody takes for granted of a container's record and its OCI configuration.

A file can be good JSON and still be none: of another container, of another program, half of
what it was.  Who reads one asks here first, so that one damaged container is said to be
damaged, and no other verb, nor the collection of garbage, stumbles over it or believes it.
"""

_TEXT = (str,)
_NUMBER = (int, float)
_OPTIONAL = (str, type(None))
_RECORD = {
    "version": (int,), "id": _TEXT, "name": _TEXT, "created": _TEXT, "image": _OPTIONAL,
    "image_name": _OPTIONAL, "rootfs": _OPTIONAL, "layers": (list,), "command": (list,),
    "labels": (dict,), "hostname": _OPTIONAL, "tty": (bool,), "stdin_open": (bool,),
    "remove": (bool,), "stop_signal": (int,), "stop_timeout": _NUMBER, "log": (dict,),
    "restart": _OPTIONAL, "volumes": (list,), "anonymous_volumes": (list,), "mounts": (list,),
    "network": (dict,), "ports": (list,), "networks": (list,), "requires": (list,),
    "rung": _TEXT, "options": (dict,),
}  # fmt: skip
_INNER = {"log": "driver", "network": "parsed", "options": "given"}
_SPEC = {"process": dict, "root": dict, "mounts": list, "linux": dict, "rl": dict}


def problem(record, container):
    """What is wrong with the record of the container (its id) as text; None if nothing is."""
    if type(record) is not dict:
        return "not a JSON object"
    for key, kinds in _RECORD.items():
        if type(record.get(key)) not in kinds:
            return f"{key} is missing" if key not in record else f"{key} makes no sense"
    if record["id"] != container:
        return "it is the record of another container"
    for key, part in _INNER.items():
        if part not in record[key]:
            return f"{key} makes no sense"
    return None


def spec_problem(spec):
    """The same for what is in spec.json."""
    if type(spec) is not dict:
        return "not a JSON object"
    for key, kind in _SPEC.items():
        if type(spec.get(key)) is not kind:
            return f"{key} is missing" if key not in spec else f"{key} makes no sense"
    return None
