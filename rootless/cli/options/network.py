"""The verbs of the group network."""

from rootless.cli.options.common import (
    FILTER,
    FILTER_LONG,
    FORCE_PROMPT,
    FORMAT,
    FORMAT_F,
    NO_TRUNC,
    STOP_TIME,
)
from rootless.cli.options.table import Verb, flag, many, missing, value, words

_ALIAS = words("--alias", "NAME", "Another name for it on this network")

VERBS = (
    Verb(
        "network create",
        "Make a network",
        (
            flag("--disable-dns", "Serve no names on this network"),
            words("--dns", "ADDRESS", "Ask this server for names that no container has"),
            value("-d --driver", "DRIVER", "The kind of network (default: bridge)"),
            many("--gateway", "ADDRESS", "Address of the bridge (default: the subnet's first)"),
            flag("--ignore", "Say nothing if it exists already"),
            value("--interface-name", "NAME", "What to call the bridge (default: rl1, rl2 …)"),
            flag("--internal", "Containers reach each other only"),
            many("--ip-range", "RANGE", "Give out addresses of this part: ADDRESS/PREFIX or"
                 " FIRST-LAST"),
            value("--ipam-driver", "DRIVER", "How addresses are found (default: host-local)"),
            flag("--ipv6", "IPv6 as well as IPv4"),
            many("--label", "KEY=VALUE", "Label the network"),
            many("-o --opt", "NAME=VALUE", "mtu, isolate, metric or no_default_route"),
            many("--route", "DESTINATION,GATEWAY[,METRIC]", "A route for its containers"),
            many("--subnet", "ADDRESS/PREFIX", "Addresses of the network (default: a free /24)"),
            *missing("there is only one driver", "--config-from"),
        ),
        "[NAME]",
        0,
        1,
        examples=(
            ("", "rl network create shop"),
            ("Without a way out", "rl network create --internal --subnet 10.9.0.0/24 back"),
        ),
    ),
    Verb("network ls", "List networks",
         (FILTER, FORMAT, flag("-n --noheading", "Don't print the headings"), NO_TRUNC,
          flag("-q --quiet", "Print only the names"))),
    Verb("network inspect", "Show everything about networks", (FORMAT_F,),
         "NETWORK [NETWORK...]", 1, complete="network"),
    Verb(
        "network rm",
        "Remove networks",
        (flag("-f --force", "Also remove the containers that are on it"), STOP_TIME),
        "NETWORK [NETWORK...]",
        1,
        complete="network",
    ),
    Verb("network prune", "Remove all networks that no container is on",
         (FILTER_LONG, FORCE_PROMPT)),
    Verb("network exists", "End with 0 if the network exists, with 1 if not", (), "NETWORK", 1, 1,
         complete="network"),
    Verb(
        "network connect",
        "Put a container on a network",
        (
            _ALIAS,
            value("--ip", "ADDRESS", "Its IPv4 address there"),
            value("--ip6", "ADDRESS", "Its IPv6 address there"),
            value("--mac-address", "MAC", "The MAC address of its interface"),
        ),
        "NETWORK CONTAINER",
        2,
        2,
        complete="container",
        examples=(("", "rl network connect --alias db shop postgres"),),
    ),
    Verb("network disconnect", "Take a container off a network",
         (flag("-f --force", "Also if the network is gone"),),
         "NETWORK CONTAINER", 2, 2, complete="container"),
    Verb("network reload", "Put running containers into their networks anew",
         (flag("-a --all", "All running containers on networks"),),
         "[CONTAINER...]", 1, alone=("all",), complete="container"),
)  # fmt: skip
