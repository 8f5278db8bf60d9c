"""Cases of COPY and ADD."""

import gzip
import io
import lzma
import tarfile

from conformance.case import (
    NO_HEREDOCS,
    NO_LINK,
    NO_PARENTS,
    Case,
    directory,
    file,
    link,
)
from support import oci


def archive(compress=bytes):
    """A tar with a bit of everything (bytes)."""
    out = io.BytesIO()
    owned = {"mode": 0o640, "uid": 5, "gid": 6}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, kind, more in (
            ("in", tarfile.DIRTYPE, {"mode": 0o750, "uid": 3, "gid": 4}),
            ("in/file", tarfile.REGTYPE, owned),
            ("in/suid", tarfile.REGTYPE, {"mode": 0o4755}),
            ("in/link", tarfile.SYMTYPE, {"linkname": "file", "mode": 0o777}),
            ("in/hard", tarfile.LNKTYPE, {"linkname": "in/file", **owned}),
            ("loose", tarfile.REGTYPE, {"mode": 0o600}),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            for key, value in more.items():
                setattr(info, key, value)
            data = name.encode() if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return compress(out.getvalue())


TREE = {
    "a": "a\n",
    "b.txt": "b\n",
    "exec": ("file", "#!/bin/sh\n", 0o755),
    "secret": ("file", "s", 0o600),
    "odd": ("file", "o", 0o4711),
    "d/one.txt": "1",
    "d/two.o": "2",
    "d/sub/three.txt": "3",
    "d/sub/four.o": "4",
    "d/empty": ("dir", None, 0o755),
    "d/closed": ("dir", None, 0o700),
    "d/link": ("link", "one.txt", None),
    "d/absolute": ("link", "/etc/passwd", None),
    "d/dangling": ("link", "nowhere", None),
    "to-file": ("link", "a", None),
    "to-dir": ("link", "d", None),
    "with space": "space",
    "[x]": "bracket",
    "é": "accent",
}
SERVED = {"served.txt": b"served\n", "served.tar": archive()}

CASES = [
    Case("copy-file", """
FROM base
COPY a /a
COPY a /dir/
COPY a /new/deep/name
COPY a b.txt /both/
COPY exec secret odd /modes/
WORKDIR /work
COPY a .
COPY a relative
COPY a ../up
COPY ["with space", "/json dir/"]
""", TREE),
    Case("copy-directory", """
FROM scratch
COPY d /d
COPY d/ /contents
COPY d /into/
COPY d/sub d/empty /merged/
COPY . /all/
""", TREE),
    Case("copy-into-what-is-there", """
FROM base
COPY a /data
COPY b.txt /data/old
COPY d /data
COPY d /srv
COPY a /link/through
COPY a /absolute/through
COPY a /opt
""", TREE),
    Case("copy-links", """
FROM scratch
COPY to-file /followed
COPY to-dir /followed-dir
COPY d/link /link
COPY to-file to-dir /dir/
""", TREE),
    Case("copy-wildcards", """
FROM scratch
COPY *.txt /text/
COPY d/*.o /objects/
COPY d/*/*.txt /deeper/
COPY ?.txt /one-letter
COPY [ab] /a-or-b/
""", TREE),
    Case("copy-wildcard-directories", """
FROM base
COPY d/[oste]* /flat/
COPY d/e* d/s* /two/
WORKDIR /work
COPY d* ./
""", TREE),
    Case("copy-hard-links", """
FROM scratch
COPY h /h
COPY h/one h/two /apart/
""", {"h/one": "same", "h/two": ("hard", "h/one", None)}),
    Case("copy-modes", """
FROM scratch
COPY m /m
COPY m/none m/all /x/
""", {"m/none": ("file", "n", 0o400), "m/all": ("file", "a", 0o777), "m/d": ("dir", None, 0o555),
      "m/sticky": ("dir", None, 0o1777)}),
    Case("copy-several-into-root", """
FROM base
COPY a b.txt d/one.txt /
COPY d d/sub /
""", TREE),
    Case("copy-escaped-wildcard", """
FROM scratch
COPY [[]x] /bracket
""", TREE, without_buildah="buildah takes the escape away too early", expect={
        "/bracket": file("bracket")}),
    Case("copy-variables", """
FROM scratch
ARG NAME=a
ENV DIR=/from/env
COPY $NAME ${DIR}/
COPY ${NONE:-b.txt} $DIR/b
COPY "é" /accent/
""", TREE),
    Case("copy-chown", """
FROM base
COPY --chown=1:2 a /numbers
COPY --chown=user a /user
COPY --chown=daemon:staff a /named
COPY --chown=user:50 d /tree
COPY --chown=12 a /new/parents/a
USER user
COPY a /as-user
WORKDIR /w
COPY a b/
ARG O=3:4
COPY --chown=$O a /variable
""", TREE),
    Case("copy-chmod", """
FROM base
COPY --chmod=600 a /six
COPY --chmod=04755 exec /suid
COPY --chmod=0750 a /dir/
""", TREE),
    Case("copy-chmod-tree", """
FROM base
COPY --chmod=640 d /tree
""", TREE, without_buildah="buildah gives the mode to files only", expect={
        "/tree": directory(), "/tree/sub": directory("rw-r-----"),
        "/tree/one.txt": file("1", "rw-r-----"), "/tree/link": link("one.txt")}),
    Case("copy-chmod-symbolic", """
FROM base
COPY --chmod=u=rwX,go=r d /tree
COPY --chmod=a+x,g-r a /a
""", TREE, without_buildah="buildah reads octal modes only", expect={
        "/tree/sub": directory("rwxr--r--"), "/tree/one.txt": file("1", "rw-r--r--"),
        "/a": file("a\n", "rwx--xr-x")}),
    Case("copy-from-stage", """
FROM base AS one
RUN mkdir -p /o/p && echo x > /o/p/f && chown 9:10 /o/p/f && chmod 4750 /o/p/f && ln -s p /o/l \\
 && chmod 2775 /o && chown 11:12 /o/p
FROM scratch
COPY --from=one /o /whole
COPY --from=one /o/p/f /single
COPY --from=one /o/l/f /through-link
COPY --from=0 o/p /relative/
COPY --from=one --chown=5:6 /o /owned
"""),
    Case("copy-from-stage-any-case", """
FROM base AS One
RUN echo x > /f
FROM scratch
COPY --from=oNE /f /
""", without_buildah="buildah compares names of stages exactly", expect={"/f": file("x\n")}),
    Case("copy-from-image", """
FROM scratch
COPY --from=base /data /data
COPY --from=base /etc/passwd /etc/group /etc/
"""),
    Case("copy-from-context", """
FROM scratch
COPY --from=extra f /
""", {"more/f": "from another context"}, args=["--build-context", "extra=more"]),
    Case("copy-whiteouts", """
FROM base AS one
RUN rm /data/old && echo new > /data/new && rm -r /srv && mkdir /srv && touch /srv/x
FROM scratch
COPY --from=one /data /data
COPY --from=one /srv /srv
"""),
    Case("copy-replaces", """
FROM base
RUN mkdir /x && echo 1 > /x/f && ln -s f /x/l && ln -s missing /x/dangling && echo 2 > /x/g
COPY a /x/g
COPY b.txt /x/l
COPY a /x/dangling
COPY d /x
""", TREE, without_buildah="buildah replaces links; docker writes to where they lead", expect={
        "/x/f": file("b\n"), "/x/l": link("f"), "/x/g": file("a\n"), "/x/missing": file("a\n"),
        "/x/link": link("one.txt"), "/x/one.txt": file("1")}),
    Case("copy-xattrs", """
FROM scratch
COPY f d /x/
ADD f /added
""", {"f": ("file", "x", 0o644), "d/g": "y"}, expect={
        "/x/f": f"{file('x')} user.note=68656c6c6f", "/x/g": file("y")}),
    Case("copy-ignored", """
FROM scratch
COPY . /all/
COPY d /d/
""", {**TREE, ".dockerignore": "*.txt\n!b.txt\n**/*.o\nd/sub\nsecret\nContainerfile\n"}),
    Case("copy-ignored-mostly", """
FROM scratch
COPY . /
""", {**TREE, ".dockerignore": "# all but\n*\n!d/sub\n!a*\n"}),
    Case("containerignore-comes-first", """
FROM scratch
COPY . /
""", {"a": "1", "b": "2", ".containerignore": "a", ".dockerignore": "b"}),
    Case("ignorefile-named", """
FROM scratch
COPY . /
""", {"a": "1", "b": "2", ".containerignore": "a", "other": "b\nother\nContainerfile\n"},
         args=["--ignorefile", "other"]),
    Case("copy-exclude", """
FROM scratch
COPY --exclude=*.o --exclude=sub d /d/
COPY --exclude=**/*.o d /e/
""", TREE, without_buildah=NO_PARENTS, expect={
        "/d/one.txt": file("1"), "/d/two.o": None, "/d/sub": None, "/d/empty": directory(),
        "/e/sub/three.txt": file("3"), "/e/sub/four.o": None, "/e/two.o": None}),
    Case("copy-parents", """
FROM scratch
COPY --parents d/sub/three.txt a /p/
COPY --parents d/./sub/four.o /pivot/
COPY --parents **/*.txt /all/
""", TREE, without_buildah=NO_PARENTS, expect={
        "/p/d/sub/three.txt": file("3"), "/p/a": file("a\n"), "/p/d/one.txt": None,
        "/pivot/sub/four.o": file("4"), "/pivot/d": None,
        "/all/b.txt": file("b\n"), "/all/d/sub/three.txt": file("3"), "/all/d/two.o": None}),
    Case("copy-link", """
FROM base
COPY --link a /data/linked
COPY --link --chown=3:4 --chmod=600 a /new/place
COPY --link d /tree
""", TREE, without_buildah=NO_LINK, expect={
        "/data/linked": file("a\n"), "/new/place": file("a\n", "rw-------", "3:4"),
        "/tree/one.txt": file("1"), "/data/old": file("old\n", "rw-r-----", "7:8")}),
    Case("copy-link-over-a-link", """
FROM base
COPY --link a /link/x
""", TREE, without_buildah=NO_LINK, expect={"/link": directory(), "/link/x": file("a\n")}),
    Case("copy-heredocs", """
FROM base
ARG V=value
COPY <<one /dir/
plain $V \\$V "quoted"
one
COPY <<'two' <<-three a /dir/
no $V
two
	tabs ${V}
	three
COPY --chown=1:2 --chmod=755 <<x /script
#!/bin/sh
x
COPY <<empty /
empty
""", TREE, without_buildah=NO_HEREDOCS, expect={
        "/dir/one": file('plain value $V "quoted"\n'), "/dir/two": file("no $V\n"),
        "/dir/three": file("tabs value\n"), "/dir/a": file("a\n"),
        "/script": file("#!/bin/sh\n", "rwxr-xr-x", "1:2"), "/empty": file("")}),
    Case("add-heredoc", """
FROM scratch
ADD <<f /
x
f
""", without_buildah=NO_HEREDOCS, expect={"/f": file("x\n")}),
    Case("add-files", """
FROM base
ADD a /a
ADD d /d/
ADD --chown=3:4 --chmod=700 a /owned
ADD *.txt /text/
""", TREE),
    Case("add-url", """
FROM scratch
ADD @URL@/served.txt /renamed
ADD @URL@/served.txt @URL@/served.tar /dir/
ADD --chown=3:4 @URL@/served.txt /owned
ADD --chmod=644 @URL@/served.txt /moded
""", SERVED),
    Case("add-checksum", f"""
FROM scratch
ADD --checksum={oci.digest(SERVED["served.txt"])} @URL@/served.txt /
ADD --unpack --checksum={oci.digest(SERVED["served.tar"])} @URL@/served.tar /tar/
""", SERVED, without_buildah="buildah has --checksum since 1.32", expect={
        "/served.txt": file("served\n", "rw-------"),
        "/tar/in/file": file("in/file", "rw-r-----", "5:6")}),
    Case("add-archives", """
FROM base
ADD plain.tar /plain/
ADD packed.tar.gz /gz/
ADD packed.tar.xz /xz
ADD notes.tar /notes/
ADD plain.tar packed.tar.gz /twice/
COPY plain.tar /copied.tar
""", {"plain.tar": archive(), "packed.tar.gz": archive(lambda data: gzip.compress(data, mtime=0)),
      "packed.tar.xz": archive(lzma.compress), "notes.tar": "only called so"}),
    Case("add-archive-owned", """
FROM base
ADD --chown=7:8 plain.tar /owned/
""", {"plain.tar": archive()}, without_buildah="buildah leaves the owners of the archive",
         expect={"/owned": directory("rwxr-xr-x", "7:8"),
                 "/owned/in": directory("rwxr-x---", "7:8"),
                 "/owned/in/file": file("in/file", "rw-r-----", "7:8"),
                 "/owned/in/link": link("file", "7:8")}),
    Case("add-archive-as-file", """
FROM base
ADD --unpack=false plain.tar /dir/
""", {"plain.tar": archive()}, without_buildah="buildah has no --unpack", expect={
        "/dir/plain.tar": file(archive()), "/dir/loose": None}),
    Case("add-exclude", """
FROM scratch
ADD --exclude=*.o d /d/
""", TREE, without_buildah=NO_PARENTS, expect={
        "/d/one.txt": file("1"), "/d/two.o": None, "/d/sub/three.txt": file("3")}),
    Case("add-link", """
FROM scratch
ADD --link a /x/
""", TREE, without_buildah=NO_LINK, expect={"/x/a": file("a\n")}),
    Case("onbuild-heredoc", """
FROM base AS one
ONBUILD COPY <<x /
content
x
FROM one
""", without_buildah=NO_HEREDOCS, expect={"/x": file("content\n")}),
]  # fmt: skip
