"""Digests as the OCI image specification writes them: ``sha256:`` and lower-case hex."""

from rootless.errors import RlError

SIZES = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


class BadDigest(RlError):
    """not a digest: {0}"""

    hint = "a digest is sha256: and 64 lower-case hex digits"


class WrongDigest(RlError):
    """{what} has the digest {found} instead of {wanted}"""

    hint = "it was damaged on the way or at its source: fetch it again"


def is_hex(text):
    """True if ``text`` has lower-case hex digits only, and at least one."""
    return bool(text) and _HEX.issuperset(text)


def split(digest):
    """The (algorithm, hex digits) of a digest; BadDigest for anything else."""
    if isinstance(digest, str):
        algorithm, _, value = digest.partition(":")
        if SIZES.get(algorithm) == len(value) and is_hex(value):
            return algorithm, value
    raise BadDigest(repr(digest)[:200])


def hexdigits(digest):
    """The hex digits of a digest: the name of what it stands for in layers/ and images/."""
    return split(digest)[1]


def join(value):
    """The digest whose hex digits are ``value``: the length tells the algorithm."""
    for algorithm, size in SIZES.items():
        if len(value) == size and is_hex(value):
            return f"{algorithm}:{value}"
    raise BadDigest(repr(value)[:200])


def hasher(algorithm="sha256"):
    """A new hash object; OpenSSL's where there is one, which frees the interpreter lock."""
    import hashlib

    return hashlib.new(algorithm)
