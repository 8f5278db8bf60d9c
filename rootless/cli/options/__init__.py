"""The option table: every verb, found without loading the others.

The rows stand in one module per family, which is loaded when one of its verbs is typed.
"""

from rootless.cli.options.table import flag, value

# family (module of this package) → its verbs
FAMILIES = {
    "run": "run create",
    "life": "start stop kill restart pause unpause rm wait init rename update",
    "look": "ps logs inspect top stats port events diff",
    "enter": "exec attach",
    "files": "cp commit export mount unmount unshare",
    "images": "pull push images rmi tag untag history load save import login logout search",
    "build": "build",
    "manifests": "manifest_create manifest_add manifest_annotate manifest_inspect"
    " manifest_push manifest_remove manifest_rm manifest_exists",
    "groups": "builder_prune container_exists container_prune container_inspect healthcheck_run"
    " image_exists image_prune image_inspect image_diff"
    " volume_create volume_ls volume_inspect volume_rm volume_prune volume_exists"
    " volume_export volume_import",
    "network": "network_create network_ls network_inspect network_rm network_prune network_exists"
    " network_connect network_disconnect network_reload",
    "system": "info version doctor autostart completion __complete __ended __health"
    " system_df system_prune system_check system_reset",
}

GROUPS = {
    "builder": "Build images",
    "buildx": "Build images",
    "container": "Manage containers",
    "healthcheck": "Manage health checks",
    "image": "Manage images",
    "manifest": "Manage manifest lists, which join images for several platforms",
    "network": "Manage networks",
    "system": "Manage rl itself",
    "volume": "Manage volumes",
}

_IN_CONTAINER = (
    "attach commit cp create diff exec export init kill logs mount pause port ps rename restart"
    " rm run start stats stop top unmount unpause update wait"
)
_IN_IMAGE = "build history import load pull push save search tag untag"

# another spelling → the verb's name
ALIASES = {
    **{f"container {verb}": verb for verb in _IN_CONTAINER.split()},
    **{f"image {verb}": verb for verb in _IN_IMAGE.split()},
    "builder build": "build",
    "buildx build": "build",
    "container list": "ps",
    "container ls": "ps",
    "container umount": "unmount",
    "image list": "images",
    "image ls": "images",
    "image remove": "rmi",
    "image rm": "rmi",
    "network list": "network ls",
    "network remove": "network rm",
    "system events": "events",
    "system info": "info",
    "umount": "unmount",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}

GLOBALS = (
    value("--root", "DIR", "Keep images, containers and volumes in DIR", complete="dir"),
    value("--runroot", "DIR", "Keep what a reboot may empty in DIR", complete="dir"),
    value(
        "--storage-driver",
        "DRIVER",
        "How containers get their writable layer",
        choices=("overlay", "fuse-overlayfs", "clone"),
    ),
    value(
        "--log-level",
        "LEVEL",
        "Say what is at least this important (default: warn)",
        choices=("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"),
    ),
    flag("--debug", "The same as --log-level=debug; shows the traceback of a defect"),
)
VERSION = flag("-v --version", "Print the version of rl")
GLOBAL_NAMES = {name: option for option in GLOBALS for name in option.names}

_WHERE = {
    verb.replace("_", " ") if verb[0] != "_" else verb: family
    for family, verbs in FAMILIES.items()
    for verb in verbs.split()
}
_found = {}


def names():
    """Every verb's canonical name, aliases not among them: a list of str."""
    return list(_WHERE)


def find(name):
    """The Verb called ``name`` ("volume ls", or an alias of it); None if there is none."""
    name = ALIASES.get(name, name)
    verb = _found.get(name)
    if verb is None:
        family = _WHERE.get(name)
        if family is None:
            return None
        module = __import__(f"rootless.cli.options.{family}", None, None, ("VERBS",))
        for row in module.VERBS:
            _found[row.name] = row
        verb = _found[name]
    return verb
