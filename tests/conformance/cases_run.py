"""Cases of RUN, FROM and stages, and of the options of a build."""

from conformance.case import NO_HEREDOCS, Case, file

NO_NETWORK = "buildah has --network of RUN since 1.30"

CASES = [
    Case("run-forms", """
FROM base
RUN echo shell "two  spaces" $HOME > /shell
RUN ["/bin/sh", "-c", "echo exec $0 > /exec", "zero"]
RUN ["/bin/touch", "/literal $HOME"]
RUN echo one && \\
    # a comment
    echo two \\
      three > /joined
"""),
    Case("run-changes", """
FROM base
RUN rm -r /data && mkdir -p /x/y && echo 1 > /x/y/f && chmod 1777 /x && chown 3:4 /x/y \\
 && ln /x/y/f /x/hard && ln -s y/f /x/soft && mkfifo /x/pipe && chmod 4755 /x/y/f
RUN mv /x /moved && touch /moved/new && rm /moved/pipe
RUN echo more > /moved/y/more && chmod 600 /moved/y
"""),
    Case("run-nothing", """
FROM base
RUN true
"""),
    Case("run-replaces-kinds", """
FROM base
RUN rm /link && mkdir /link && touch /link/f && rm -r /opt && ln -s data /opt
RUN rm -r /link && echo file > /link
"""),
    Case("run-env", """
FROM base
ENV A=1
ARG B=2
RUN env | grep -E '^(A|B|PATH)=' | sort > /env
"""),
    Case("run-bind", """
FROM base AS other
RUN mkdir /give && echo given > /give/f
FROM base
RUN --mount=type=bind,target=/ctx cat /ctx/sub/f > /one
RUN --mount=type=bind,source=sub,target=/ctx ls /ctx > /two
RUN --mount=type=bind,from=other,source=/give,target=/got cat /got/f > /three
RUN --mount=target=/ctx,rw touch /ctx/written && ls /ctx/written > /four
RUN --mount=type=bind,source=sub/f,target=/single cat /single > /five
RUN --mount=type=bind,from=base,source=/etc,target=/their head -n 1 /their/passwd > /six
""", {"sub/f": "from the context\n"}, expect={"/one": file("from the context\n")}),
    Case("run-cache", """
FROM base
RUN --mount=type=cache,target=/c,id=conformance echo kept > /c/f
RUN --mount=type=cache,target=/elsewhere,id=conformance cat /elsewhere/f > /out
RUN --mount=type=cache,target=/c,id=owned,uid=1000,gid=50,mode=0750 stat -c '%u %g %a' /c > /who
"""),
    Case("run-tmpfs", """
FROM base
RUN --mount=type=tmpfs,target=/t echo gone > /t/f && cat /t/f > /out
"""),
    Case("run-secret", """
FROM base
RUN --mount=type=secret,id=one cat /run/secrets/one > /out
RUN --mount=type=secret,id=one,target=/s,mode=0444,uid=3 stat -c '%u %a' /s > /who
RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing
""", {"secret.txt": "hush"}, args=["--secret", "id=one,src=secret.txt"]),
    Case("run-secret-as-variable", """
FROM base
RUN --mount=type=secret,id=one,env=TOKEN echo "$TOKEN" > /out && test ! -e /run/secrets/one
""", {"secret.txt": "hush"}, args=["--secret", "id=one,src=secret.txt"],
         without_buildah="buildah has env= since 1.39", expect={"/out": file("hush\n")}),
    Case("run-network-none", """
FROM base
RUN --network=none ls /sys/class/net > /out
""", without_buildah=NO_NETWORK, expect={"/out": file("lo\n")}),
    Case("run-network-default", """
FROM base
RUN --network=default test -s /etc/resolv.conf && echo yes > /out
""", without_buildah=NO_NETWORK, expect={"/out": file("yes\n")}),
    Case("run-network-host", """
FROM base
RUN --network=host echo yes > /out
""", args=["--network=host"], without_buildah=NO_NETWORK, expect={"/out": file("yes\n")}),
    Case("run-security-sandbox", """
FROM base
RUN --security=sandbox echo x > /out
""", without_buildah="buildah has --security since 1.31", expect={"/out": file("x\n")}),
    Case("run-heredoc", """
FROM base
ARG V=value
RUN <<EOF
echo "one $V" > /one
false
echo two > /two
EOF
RUN <<'EOF'
echo $V > /quoted
EOF
RUN <<-EOF
	echo tabs > /tabs
	EOF
RUN <<EOF sh -e
echo shell > /shell
EOF
RUN cat <<A - <<B > /both && echo end >> /both
a
A
b
B
RUN <<EOF
#!/bin/busybox sh
echo "$0" | sed 's,.*/,,' > /shebang
EOF
SHELL ["/bin/sh", "-e", "-c"]
RUN <<EOF
echo strict > /strict
EOF
""", without_buildah=NO_HEREDOCS, expect={
        "/one": file("one value\n"), "/two": file("two\n"), "/quoted": file("value\n"),
        "/tabs": file("tabs\n"), "/shell": file("shell\n"), "/both": file("b\nend\n"),
        "/shebang": file("EOF\n"), "/strict": file("strict\n")}),
    Case("run-leaves-nothing", """
FROM base
RUN --mount=type=cache,target=/made/for/cache --mount=type=tmpfs,target=/t2 \\
    --mount=type=bind,target=/b2 echo x > /out
""", {"f": "x"}),
    Case("run-as-user", """
FROM base
RUN mkdir /own && chown user:staff /own
USER user:staff
RUN touch /own/f && mkdir -m 2750 /own/d && umask 077 && touch /own/private
"""),
    Case("stages", """
FROM base AS build
RUN echo made > /made
FROM build AS more
ENV FROM_MORE=1
RUN echo more >> /made
FROM scratch AS unused
COPY missing /
FROM more
COPY --from=build /made /original
""", args=["--skip-unused-stages=true"], without_buildah="buildah 1.28 builds every stage", expect={
        "/made": file("made\nmore\n"), "/original": file("made\n")}),
    Case("from-platform", """
FROM --platform=$BUILDPLATFORM base AS one
ARG TARGETPLATFORM BUILDPLATFORM
RUN test "$TARGETPLATFORM" = "$BUILDPLATFORM" && echo same > /out
FROM --platform=${TARGETPLATFORM} one
""", without_buildah="buildah knows no platform ARGs in FROM without --platform", expect={
        "/out": file("same\n")}),
    Case("target", """
FROM base AS one
ENV STAGE=one
FROM base AS two
ENV STAGE=two
""", args=["--target", "one"]),
    Case("target-number", """
FROM base
ENV STAGE=zero
FROM base
ENV STAGE=one
""", args=["--target", "0"]),
    Case("args-go-on-in-a-stage", """
FROM base AS one
ARG A=1
FROM one
ENV B=x$A
""", without_buildah="buildah forgets ARGs at the next FROM; docker's stages inherit them",
         expect={"config Env": ["B=x1", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]}),
    Case("args-go-on-from-a-stage-built-aside", """
FROM base AS one
ARG A=1
RUN echo $A > /one
FROM base AS two
RUN echo 2 > /two
FROM one
ENV B=x$A
RUN echo $A > /out
COPY --from=two /two /
""", without_buildah="as in args-go-on-in-a-stage", expect={
        "/out": file("1\n"), "/one": file("1\n"), "/two": file("2\n"),
        "config Env": ["B=x1", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]}),
    Case("stage-shadows-image", """
FROM scratch AS base
COPY a /
FROM base
ENV A=1
""", {"a": "x"}),
    Case("several-files", "FROM base\nENV A=1\n", {"second": "ENV B=$A-2\nRUN echo x > /out\n"},
         args=["-f", "Containerfile", "-f", "second"]),
    Case("format-oci", """
FROM base
ENV A=1
LABEL l=1
EXPOSE 80
VOLUME /v
USER user
WORKDIR /w
STOPSIGNAL SIGINT
ENTRYPOINT ["/e"]
CMD ["c"]
RUN id -u > /w/out
""", args=["--format=oci"]),
    Case("squash", """
FROM base
RUN echo 1 > /one
RUN rm /one && echo 2 > /two
""", args=["--squash"]),
    Case("no-layers", """
FROM base
RUN echo 1 > /one
RUN echo 2 > /two
""", args=["--layers=false"]),
    Case("syntax-directive", """# syntax=docker/dockerfile:1
# check=skip=all
FROM scratch
ENV A=1
"""),
    Case("crlf", "FROM base\r\nENV A=1 \\\r\n  B=2\r\nRUN echo x > /out\r\n"),
    Case("byte-order-mark", "\ufeffFROM scratch\nENV A=1\n"),
]  # fmt: skip
