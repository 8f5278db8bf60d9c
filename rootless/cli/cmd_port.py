"""rl port"""

from rootless.cli import output
from rootless.engine import lifecycle
from rootless.errors import RlError


class NotPublished(RlError):
    """container {0} has no published port {1}"""

    hint = "rl port {0} lists those that it has"


def main(engine, request):
    """Show published ports: all of a container, one of it, or those of all containers."""
    from rootless.engine import publish

    if request.latest:
        items, ports = lifecycle.select(engine, request.replace(args=())), request.args
    else:
        items = lifecycle.select(engine, request.replace(args=request.args[:1]))
        ports = request.args[1:]
    for record in items:
        found = publish.by_port(publish.served(engine, record))
        if ports:
            wanted = ports[0] if "/" in ports[0] else f"{ports[0]}/tcp"
            if wanted not in found:
                raise NotPublished(record["name"], ports[0])
            _lines(found[wanted])
        else:
            for key, rows in found.items():
                _lines(rows, f"{record['id'][:12]}\t" * bool(request.all) + f"{key} -> ")
    return 0


def _lines(rows, before=""):
    for row in rows:
        ip = row["HostIp"] or "0.0.0.0"
        output.line(f"{before}[{ip}]:{row['HostPort']}" if ":" in ip
                    else f"{before}{ip}:{row['HostPort']}")
