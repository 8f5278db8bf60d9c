"""elf:PATH: a minimal image of one program of this machine.

The program keeps its path and becomes the entrypoint.  With it come its interpreter and
libraries (image.closure), /etc/passwd and /etc/group with root and nobody, and /tmp.
"""

from rootless.image.local import BASE, make_image, write_layer


def build(store, path, name):
    """Make the image of the program ``path`` (absolute), called ``name``: its record.

    Raises NoProgram, NoLibrary, and what the store raises.
    """
    from rootless.image.closure import Closure

    closure = Closure(path)
    files = {**BASE, **closure.files}
    layer, created = write_layer(store, files, closure.links, closure.directories)
    return make_image(
        store,
        [layer],
        {"Entrypoint": [path], "WorkingDir": "/"},
        created,
        closure.architecture,
        [name],
        f"elf:{path}",
        source={"elf": path, "inputs": closure.inputs},
    )
