"""Small tar archives, made and read."""

import io
import tarfile


def tar_of(*members):
    """A tar (bytes) of (name, content) pairs; content is bytes, None for a directory, or a
    dict of TarInfo's attributes."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            data = None
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, dict):
                for key, value in content.items():
                    setattr(info, key, value)
            else:
                info.size, data = len(content), io.BytesIO(content)
            archive.addfile(info, data)
    return target.getvalue()


def members(data):
    """{name: TarInfo} of a tar (bytes)."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: info for info in archive}
