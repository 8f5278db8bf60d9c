"""--annotation of a build: which of them are for an image, and which for the list.

    KEY=VALUE  manifest:KEY=VALUE  manifest[linux/arm64]:KEY=VALUE  index:KEY=VALUE
"""

from rootless.errors import RlError
from rootless.model import oci


class BadAnnotation(RlError):
    """--annotation {text!r}: {why}"""

    hint = "such as KEY=VALUE, manifest[linux/arm64]:KEY=VALUE or index:KEY=VALUE"


class Annotations:
    """``everywhere`` and ``of_list``: texts KEY=VALUE; ``single``: [(oci.Platform, text)]."""

    def __init__(self):
        self.everywhere = []
        self.of_list = []
        self.single = []

    def of_image(self, platform, several):
        """The texts for the image of the oci.Platform.  BadAnnotation: there is no list."""
        if self.of_list and not several:
            text = f"index:{self.of_list[0]}"
            raise BadAnnotation(text=text, why="a build for one platform makes no index")
        chosen = [text for wanted, text in self.single if wanted == platform]
        return [*self.everywhere, *chosen]


def read(texts):
    """The Annotations of all --annotation. Raises BadAnnotation, BadPlatform."""
    found = Annotations()
    for text in texts:
        kinds, colon, rest = text.partition(":")
        if not colon or not _is_kinds(kinds):
            _check(text, text)
            found.everywhere.append(text)
            continue
        _check(text, rest)
        for kind in kinds.split(","):
            _add(found, text, kind, rest)
    return found


def _is_kinds(text):
    """Whether what stands before a colon says where to, and isn't part of a key."""
    words = [word.partition("[")[0] for word in text.split(",")]
    known = ("manifest", "index", "manifest-descriptor", "index-descriptor")
    return "=" not in text and all(word in known for word in words)


def _check(text, pair):
    key, equals, _ = pair.partition("=")
    if not key or not equals:
        raise BadAnnotation(text=text, why="expected KEY=VALUE")


def _add(found, text, kind, rest):
    kind, bracket, platform = kind.partition("[")
    if kind == "index" and not bracket:
        found.of_list.append(rest)
    elif kind == "manifest" and not bracket:
        found.everywhere.append(rest)
    elif kind == "manifest" and platform.endswith("]"):
        wanted = oci.parse_platform(platform[:-1], oci.Platform("linux", ""))
        found.single.append((wanted, rest))
    else:
        raise BadAnnotation(text=text, why=f"rl knows no annotations of kind {kind}")
