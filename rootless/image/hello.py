"""The image built into rl: one static program that says hello."""

import os

import rootless
from rootless.errors import RlError
from rootless.image.local import make_image, write_layer
from rootless.image.stamps import stamp
from rootless.model import oci

NAME = "localhost/hello:latest"


class NotBuilt(RlError):
    """the program of the image hello is missing: {path}"""

    hint = "rl was installed without its helper programs; make -C helpers builds them"


def program():
    """The path of the program on this machine."""
    return f"{rootless.helpers_dir()}/hello"


def build(store):
    """Make the image: its record."""
    path = program()
    if not os.path.isfile(path):
        raise NotBuilt(path=path)
    layer, _ = write_layer(store, {"/hello": path}, {}, ())
    return make_image(
        store,
        [layer],
        {"Entrypoint": ["/hello"], "WorkingDir": "/"},
        os.stat(path).st_mtime,
        oci.Platform("linux", os.uname().machine).architecture,
        [NAME],
        "built into rl",
        source={"hello": True, "inputs": {path: stamp(path)}},
    )
