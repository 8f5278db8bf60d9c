"""Decompression of layer streams: which codec, told by the first bytes, piece by piece.

Pieces are at most ``PIECE`` bytes, however well the input was packed: a bomb costs time,
never memory.
"""

import zlib

from rootless.errors import RlError

PIECE = 1 << 20
_FEED = 64 << 10
_WINDOW_LOG = 27
_WINDOW = 1 << _WINDOW_LOG

MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
LONGEST_MAGIC = 6


class BadCompression(RlError):
    """the {codec} data of the layer is damaged: {problem}"""

    hint = "fetch it again; if that doesn't help, it is damaged at its source"


class CodecMissing(RlError):
    """the layer is compressed with {codec}, and the Python package {package} isn't here"""

    hint = "install it beside rl: pip install {package}"


def detect(head):
    """The codec that ``head`` (the first bytes) shows: "gzip", "zstd", … or "" for none.

    A skippable frame may open a zstd stream (RFC 8878, 3.1.2).
    """
    for magic, name in MAGIC:
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return "zstd"
    return ""


def plain(codec, read):
    """The plain bytes of a stream, as an iterator of pieces (bytes).

    ``read(n)`` gives up to n bytes of it, b"" at its end.  BadCompression where it is
    damaged or cut short, CodecMissing where the package for the codec isn't installed.
    """
    return prepare(codec)(read)


def compressor(codec, level=None):
    """What packs a stream as "gzip" or "zstd": an object with compress(data) and flush(),
    which give bytes.  CodecMissing as above.

    ``level`` is the codec's own scale; None is fast.  Headers have no time and no name: the
    same stream gives the same bytes.
    """
    if codec == "zstd":
        return _zstd_compressor(3 if level is None else level)
    if level is not None:
        return zlib.compressobj(level, zlib.DEFLATED, 31)
    try:
        # Intel's library makes 400 MB/s of it instead of 100; rl works without it.
        from isal import isal_zlib as fast
    except ImportError:
        fast = zlib
    return fast.compressobj(1, zlib.DEFLATED, 31)


def _zstd_compressor(level):
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            import zstandard
        except ImportError:
            raise CodecMissing(codec="zstd", package="zstandard") from None
        return zstandard.ZstdCompressor(level=level).compressobj()
    return zstd.ZstdCompressor(level=level)


def prepare(codec):
    """The function read → pieces for a codec, with all that it needs already imported."""
    return {"": _as_is, "gzip": _gzip, "zstd": _zstd, "xz": _xz, "bzip2": _bzip2}[codec]()


def _as_is():
    return lambda read: iter(lambda: read(PIECE), b"")


def _gzip():
    try:
        # Intel's library inflates twice as fast; rl works without it.
        from isal import isal_zlib as fast
    except ImportError:
        fast = zlib
    errors = (zlib.error, getattr(fast, "error", zlib.error))
    return lambda read: _gzip_members(read, fast.decompressobj, errors)


def _gzip_members(read, start, errors):
    current, data = None, b""
    while data or (data := read(_FEED)):
        if current is None:
            if not data.strip(b"\0"):  # padding behind the last member
                data = b""
                continue
            current = start(wbits=31)
        try:
            piece = current.decompress(data, PIECE)
        except errors as error:
            raise BadCompression(codec="gzip", problem=str(error)) from None
        if piece:
            yield piece
        data = current.unconsumed_tail
        if current.eof:
            data = current.unused_data
            current = None
        elif not data and len(piece) == PIECE:
            # Exactly full: more may be waiting inside.
            yield from _rest(current, errors)
    if current is not None:
        raise BadCompression(codec="gzip", problem="it ends too early")


def _rest(current, errors):
    while True:
        try:
            piece = current.decompress(b"", PIECE)
        except errors as error:
            if "incomplete" in str(error) or "buffer" in str(error):
                return  # zlib's way to say that it wants more input
            raise BadCompression(codec="gzip", problem=str(error)) from None
        if piece:
            yield piece
        if len(piece) < PIECE:
            return


def _framed(codec, read, start, errors):
    """bz2, lzma and zstd objects of the standard library: streams may follow each other."""
    current, data = None, b""
    while data or (data := read(_FEED)):
        if current is None:
            if not data.strip(b"\0"):
                data = b""
                continue
            current = start()
        try:
            piece = current.decompress(data, PIECE)
            while piece:
                yield piece
                if current.eof or current.needs_input:
                    break
                piece = current.decompress(b"", PIECE)
        except errors as error:
            raise BadCompression(codec=codec, problem=str(error)) from None
        data = b""
        if current.eof:
            data = current.unused_data
            current = None
    if current is not None:
        raise BadCompression(codec=codec, problem="it ends too early")


def _bzip2():
    import bz2

    errors = (OSError, ValueError, EOFError)
    return lambda read: _framed("bzip2", read, bz2.BZ2Decompressor, errors)


def _xz():
    import lzma

    def start():
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_WINDOW)

    return lambda read: _framed("xz", read, start, (lzma.LZMAError, EOFError))


def _zstd():
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        return _zstd_package()

    def start():
        return zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
        )

    return lambda read: _framed("zstd", read, start, (zstd.ZstdError, EOFError))


def _zstd_package():
    try:
        import zstandard
    except ImportError:
        raise CodecMissing(codec="zstd", package="zstandard") from None
    return lambda read: _zstd_pieces(zstandard, read)


def _zstd_pieces(zstandard, read):
    source = _Source(read)
    context = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    reader = context.stream_reader(source, read_size=_FEED, read_across_frames=True)
    try:
        while piece := reader.read(PIECE):
            yield piece
    except zstandard.ZstdError as error:
        raise BadCompression(codec="zstd", problem=str(error)) from None


class _Source:
    def __init__(self, read):
        self.read = read
