"""What `rl run` loads of the store stays small."""

import subprocess
import sys

from support.command import TREE

HEAVY = ("json", "re", "hashlib", "zlib", "threading", "tempfile", "shutil", "tarfile", "typing",
         "dataclasses", "subprocess", "zstandard", "isal", "traceback", "contextlib")  # fmt: skip
COLD = ("unpack", "unpacker", "tarread", "tarwrite", "codec", "gc", "df", "check", "export",
        "changes", "merged", "adopt", "blobwriter", "removal")  # fmt: skip

CODE = """
import sys
sys.path.insert(0, %r)
before = set(sys.modules)
from rootless.model.idmap import Ids, Range
from rootless.store.store import open_store
from rootless.store import drivers
import os
ids = Ids([Range(0, os.geteuid(), 1)], [Range(0, os.getegid(), 1)], "single")
store = open_store(%r, ids)
assert store.images.lookup("localhost/none") is None
store.layers.paths([])
rows = [{"rung": "overlay", "ok": True, "reason": ""}]
os.mkdir(%r)
drivers.choose(store, None, rows).prepare(%r, [])
print(*sorted(set(sys.modules) - before))
"""


def test_modules_of_the_hot_path(workdir):
    home = f"{workdir}/container"
    code = CODE % (TREE, f"{workdir}/store", home, home)
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "rootless.store.drivers.overlay" in loaded
    assert not set(HEAVY) & set(loaded)
    assert not {f"rootless.store.{name}" for name in COLD} & set(loaded)
