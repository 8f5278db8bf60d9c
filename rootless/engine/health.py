"""Health checks: what the options and the image say, in the monitor's terms.

docker's and podman's meaning: podman-run(1), --health-*; OCI image-spec has none, docker's
image configuration calls it Healthcheck with durations in nanoseconds.
"""

from rootless.engine import filters
from rootless.engine.spec.values import fail
from rootless.model import jsontext

_DEFAULTS = {"interval": 30_000, "timeout": 30_000, "start-period": 0, "retries": 3}
_IMAGE = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}


def settings(options, image):
    """The check as a dict (times in ms, ``test`` the command's words); None for no check.

    ``image`` is the image's Healthcheck or None.
    """
    image = image or {}
    test = _command(options.get("health_cmd"), image.get("Test"))
    if not test:
        return None
    found = {"test": test, "on-failure": options.get("health_on_failure") or "none"}
    for key, default in _DEFAULTS.items():
        name = "health_" + key.replace("-", "_")
        given = options.get(name)
        if given is None:
            found[key] = _from_image(image, key, default)
        elif key == "retries":
            found[key] = int(given)
        else:
            found[key] = _milliseconds(f"--{name.replace('_', '-')}", given)
    if found["retries"] < 1:
        fail("--health-retries", str(found["retries"]), "at least one failure must count")
    return found


def _from_image(image, key, default):
    if key == "retries":
        return image.get("Retries") or default
    nanoseconds = image.get(_IMAGE[key])
    return max(1, nanoseconds // 1_000_000) if nanoseconds else default


def _milliseconds(option, text):
    if option == "--health-interval" and text == "disable":
        return 0
    seconds = filters.seconds(text)
    if seconds is None or not 0 <= seconds < 1 << 20:
        fail(option, text, "not a duration of up to twelve days", "for example 30s or 1m30s")
    return int(seconds * 1000)


def _command(given, image):
    """The words to run: --health-cmd as podman reads it, else the image's Test."""
    if given is not None:
        if given.lower() == "none" or not given.strip():
            return None
        if given.startswith("["):
            try:
                image = jsontext.loads(given)
            except jsontext.DecodeError:
                fail("--health-cmd", given, "not a JSON list of words")
            if image and image[0] not in ("CMD", "CMD-SHELL", "NONE"):
                image = ["CMD", *image]
        else:
            image = ["CMD-SHELL", given]
    if not image or image[0] == "NONE" or len(image) < 2:
        return None
    if image[0] == "CMD-SHELL":
        return ["/bin/sh", "-c", " ".join(image[1:])]
    return list(image[1:])


def shown(check):
    """A check as docker's and podman's inspect show it: durations in nanoseconds."""
    return {
        "Test": ["CMD", *check["test"]],
        "Interval": check["interval"] * 1_000_000,
        "Timeout": check["timeout"] * 1_000_000,
        "StartPeriod": check["start-period"] * 1_000_000,
        "Retries": check["retries"],
    }
