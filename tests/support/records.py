"""A container's record as rl writes it, for tests that make one by hand."""

_FACTS = {
    "version": 1, "name": "web", "created": "2026-01-01T00:00:00Z", "image": None,
    "image_name": "x", "rootfs": "/x", "layers": [], "command": ["true"], "labels": {},
    "hostname": "x", "tty": False, "stdin_open": False, "remove": False, "stop_signal": 15,
    "stop_timeout": 10, "log": {"driver": "none"}, "restart": None, "volumes": [],
    "anonymous_volumes": [], "mounts": [], "network": {"parsed": {"mode": "none"}}, "ports": [],
    "networks": [], "requires": [], "rung": "range", "options": {"given": {}},
}  # fmt: skip


def record(container, **facts):
    """The record of the container with that id."""
    return {**_FACTS, "id": container, **facts}
