"""rl events"""

import sys
import time

from rootless.cli import output
from rootless.engine import events_read
from rootless.engine.filters import moment


def main(engine, request):
    """Show events, and go on with those to come."""
    wanted = events_read.Wanted(request.filter, request.since, request.until)
    past = request.since is not None or request.until is not None or not request.stream
    show = _shower(request)

    def put(event):
        show(event)
        sys.stdout.flush()

    events_read.read(engine, wanted, past, request.stream, put)
    return 0


def _shower(request):
    """What writes one event as --format wants it."""
    if request.format is None:
        return lambda event: output.line(_line(event, request.no_trunc))
    if request.format.strip() == "json":
        from rootless.model import jsontext

        return lambda event: output.line(jsontext.dumps(_raw(event)))
    from rootless.cli import template

    return lambda event: output.write(template.render(request.format, _fields(event)) + "\n")


def _line(event, whole):
    """An event as podman shows it."""
    head = f"{_go_time(event['Time'])} {event['Type']} {event['Status']}"
    identity = event["ID"] if whole else event["ID"].removeprefix("sha256:")[:12]
    if event["Type"] == "volume":
        return f"{head} {event['Name']}"
    if event["Type"] == "image":
        return f"{head} {identity} {event['Name']}"
    facts = [f"image={event['Image']}", f"name={event['Name']}"]
    if event.get("HealthStatus"):
        facts.append(f"health_status={event['HealthStatus']}")
    facts += [f"{key}={value}" for key, value in (event.get("Attributes") or {}).items()]
    return f"{head} {identity} ({', '.join(facts)})"


def _go_time(text):
    """RFC 3339 in this zone's time, as Go prints a time."""
    at = time.localtime(moment(text))
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', at)}.{text[20:29]} {time.strftime('%z %Z', at)}"


def _raw(event):
    """For ``--format json``: podman's names."""
    found = {key: value for key, value in event.items() if key != "HealthStatus"}
    if event.get("HealthStatus"):
        found["health_status"] = event["HealthStatus"]
    return found


def _fields(event):
    """What templates may name: everything, empty where an event has none."""
    empty = {"Attributes": {}, "ContainerExitCode": 0, "HealthStatus": "", "Image": "",
             "Network": ""}
    return {**empty, **event}
