"""rl network …: networks of one's own (podman-network(1))."""

from rootless.cli import output
from rootless.cli.results import report
from rootless.engine import networks, networks_list
from rootless.errors import RlError

_FAILED = RlError.exit_code
_SHORT = 12


class BadLabel(RlError):
    """--label {0!r}: expected KEY[=VALUE]"""

    hint = "rl network create --help"


def main(engine, request):
    """Do one of the verbs of the group; the exit code."""
    return _VERBS[request.verb](engine, request) or 0


def _create(engine, request):
    labels = {}
    for text in request.label:
        key, _, value = text.partition("=")
        if not key:
            raise BadLabel(text)
        labels[key] = value
    options = request.options
    given = {name: options[name] for name in (
        "subnet", "gateway", "ip_range", "route", "dns", "opt", "driver", "interface_name",
        "ipam_driver", "internal", "ipv6", "disable_dns")}
    name = request.args[0] if request.args else None
    output.line(networks.create(engine, name, {**given, "label": labels}, request.ignore))


_COLUMNS = (("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"))
_MORE = (
    ("NETWORK INTERFACE", "NetworkInterface"),
    ("CREATED", "Created"),
    ("SUBNETS", "Subnets"),
    ("ROUTES", "Routes"),
    ("IPV6 ENABLED", "IPv6Enabled"),
    ("INTERNAL", "Internal"),
    ("DNS ENABLED", "DNSEnabled"),
    ("NETWORK DNS SERVERS", "NetworkDNSServers"),
    ("LABELS", "Labels"),
    ("OPTIONS", "Options"),
    ("IPAM OPTIONS", "IPAMOptions"),
)


def _ls(engine, request):
    rows = networks_list.listing(engine, request.filter)
    if request.quiet:
        for row in rows:
            output.line(row["Name"])
        return
    raw = None
    if request.format and request.format.strip() == "json":
        wanted = {row["Name"] for row in rows}
        raw = [networks_list.plain(one) for one in networks.everything(engine)
               if one["name"] in wanted]
    if not request.no_trunc:
        rows = [{**row, "ID": row["ID"][:_SHORT]} for row in rows]
    if request.format:
        rows = [{**row, "Labels": _joined(row["Labels"])} for row in rows]
    output.listing(
        rows, _COLUMNS, format=request.format, noheading=request.noheading, hidden=_MORE, raw=raw
    )


def _joined(labels):
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _inspect(engine, request):
    shown, done = [], []
    for text in request.args:
        try:
            shown.append(networks.find(engine, text))
        except RlError as error:
            done.append((None, error))
    if request.format and request.format.strip() != "json":
        for one in shown:
            output.document(networks_list.facts(engine, one, whole=True), request.format)
    else:
        output.document([networks_list.facts(engine, one) for one in shown])
    return report(done)


def _rm(engine, request):
    """Ends with 1 if a network didn't exist, with 2 if one is in use (podman-network-rm(1))."""
    done = []
    for text in request.args:
        try:
            name = networks_list.remove(engine, text, request.force, request.options["time"])
            done.append((text if text == name else name, None))
        except RlError as error:
            if not (request.force and isinstance(error, networks.NoNetwork)):
                done.append((None, error))
    return report(done)


def _prune(engine, request):
    if not request.force:
        from rootless.cli.confirm import confirm

        names = networks_list.prunable(engine, request.filter)
        if not confirm("This will remove all networks not used by at least one container.", names):
            return 0
    return report(networks_list.prune(engine, request.filter))


def _exists(engine, request):
    try:
        networks.find(engine, request.args[0])
    except networks.NoNetwork:
        return 1
    return 0


def _connect(engine, request):
    from rootless.engine import networks_change

    network, container = request.args
    networks_change.connect(engine, network, container, ip=request.ip, ip6=request.ip6,
                            mac=request.mac_address, aliases=request.alias)


def _disconnect(engine, request):
    from rootless.engine import networks_change

    network, container = request.args
    networks_change.disconnect(engine, network, container, force=request.force)


def _reload(engine, request):
    from rootless.engine import networks_change, records

    if request.all:
        items = [record for record in records.everything(engine)
                 if "damaged" not in record and records.state(engine, record)["pid"]
                 and record["network"]["parsed"]["mode"] == "networks"]
    else:
        items = [records.find(engine, text) for text in request.args]
    done = []
    for record in items:
        try:
            networks_change.reload(engine, record)
            done.append((record["id"], None))
        except RlError as error:
            done.append((record["id"], error))
    return report(done)


_VERBS = {
    "network create": _create,
    "network ls": _ls,
    "network inspect": _inspect,
    "network rm": _rm,
    "network prune": _prune,
    "network exists": _exists,
    "network connect": _connect,
    "network disconnect": _disconnect,
    "network reload": _reload,
}
