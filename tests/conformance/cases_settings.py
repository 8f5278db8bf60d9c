"""Cases of the instructions that change the configuration."""

from conformance.case import NO_MODIFIERS, Case, directory

CASES = [
    Case("env", """
FROM base
ENV ONE=1 TWO="two words" THREE='$ONE' FOUR=a\\ b FIVE=
ENV old form with  spaces
ENV ONE=$TWO SIX=$ONE
ENV PATH=/extra:$PATH
ENV QUOTED="a \\"b\\" \\$c 'd'" EMPTY="" BACK=\\\\ LAST=x
ENV NESTED=${NONE:-${ONE}}
"""),
    Case("label", """
FROM triggers
USER 0
LABEL base=two other="three words" a.b.c=d
LABEL old form
LABEL "quoted key"=x multi="one \\
two"
ARG V=1
LABEL with-arg=$V
""", {"trigger": "t"}),
    Case("arg", """
ARG TAG=latest
ARG BASE=base
FROM ${BASE}:$TAG
ARG BASE
ARG PLAIN
ARG DEFAULTED=d GIVEN=no
ARG LATER=$DEFAULTED-x
ENV E="$BASE|$PLAIN|$DEFAULTED|$GIVEN|$LATER|$TAG"
RUN echo "$BASE|$PLAIN|$DEFAULTED|$GIVEN|$LATER|$TAG" > /out
ENV DEFAULTED=env
RUN echo $DEFAULTED >> /out
""", args=["--build-arg", "GIVEN=yes", "--build-arg", "PLAIN=p"]),
    Case("arg-unset", """
FROM scratch
ARG A
ENV B=x$A
ARG C=
ENV D=${C:-empty} E=${A:+set}
"""),
    Case("arg-from-environment", """
FROM scratch
ARG TAKEN
ENV E=$TAKEN
""", args=["--build-arg", "TAKEN"], env={"TAKEN": "from outside"}),
    Case("platform-args", """
FROM scratch
ARG TARGETPLATFORM
ARG TARGETOS
ARG TARGETARCH
ARG BUILDPLATFORM
ARG BUILDOS BUILDARCH
ENV T="$TARGETPLATFORM $TARGETOS $TARGETARCH" B="$BUILDPLATFORM $BUILDOS $BUILDARCH"
"""),
    Case("platform-args-undeclared", """
FROM scratch
ENV T=x$TARGETPLATFORM$TARGETARCH
"""),
    Case("env-sees-what-was-before", """
FROM base
ENV abc=hello
ENV abc=bye def=$abc
ENV ghi=$abc
ARG abc=arg
LABEL l=$abc
RUN echo $abc $def $ghi > /out
"""),
    Case("arg-with-env-of-the-base", """
FROM base
ARG BASE_PATH=$PATH
ARG HOME_OF=${HOME:-nowhere}
ENV P="$BASE_PATH $HOME_OF"
"""),
    Case("proxy-args", """
FROM base
RUN echo "$HTTP_PROXY $no_proxy" > /out
""", args=["--build-arg", "HTTP_PROXY=http://proxy.example:1", "--build-arg", "no_proxy=x"]),
    Case("modifiers", """
FROM scratch
ARG P=/usr/lib/libx.tar.gz
ENV A=${P#*/} B=${P##*/} C=${P%.*} D=${P%%.*} E=${P/lib/LIB} F=${P//lib/LIB} G=${P//\\//_}
ENV H=${NONE-unset} I=${P+set}
""", without_buildah=NO_MODIFIERS, expect={"config Env": [
        "A=usr/lib/libx.tar.gz", "B=libx.tar.gz", "C=/usr/lib/libx.tar", "D=/usr/lib/libx",
        "E=/usr/LIB/libx.tar.gz", "F=/usr/LIB/LIBx.tar.gz", "G=_usr_lib_libx.tar.gz",
        "H=unset", "I=set",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}),
    Case("escape-directive", """# escape=`
FROM base
ENV A=b `
    C=c
RUN echo one `
    two > /out
"""),
    Case("escape-in-quotes", """# escape=`
FROM scratch
ENV A="x`"y" B=\\e C=`$A
""", without_buildah="buildah reads quotes with a backslash only", expect={"config Env": [
        "A=x\"y", "B=\\e", "C=$A",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}),
    Case("workdir", """
FROM base
WORKDIR /a
WORKDIR b
WORKDIR ./c/../d
RUN pwd > where
WORKDIR /link/new
WORKDIR /srv/x
ENV DIR=/from/env
WORKDIR $DIR/y
WORKDIR "/quoted dir"
RUN pwd > where
"""),
    Case("workdir-as-user", """
FROM base
USER user
WORKDIR /made/by
RUN id -u > /tmp/who
"""),
    Case("workdir-scratch", """
FROM scratch
WORKDIR /a/b
"""),
    Case("user", """
FROM base
USER 1000
USER daemon:staff
RUN id -u > /tmp/u && id -g > /tmp/g && id -G > /tmp/groups && echo $HOME > /tmp/home
"""),
    Case("user-variable", """
FROM base
ARG WHO=user
USER ${WHO}
RUN id > /tmp/id
"""),
    Case("user-number", """
FROM base
USER 4321:8765
RUN id -u > /tmp/u; id -g > /tmp/g; umask > /tmp/umask
"""),
    Case("expose", """
FROM scratch
EXPOSE 80 443/tcp 53/udp
EXPOSE 8000-8002
ARG P=99
EXPOSE $P/sctp
EXPOSE 80
"""),
    Case("volume", """
FROM base
VOLUME /data /new
VOLUME ["/with space", "/json"]
ENV V=/from/env
VOLUME $V
"""),
    Case("volume-written-later", """
FROM base
RUN mkdir /v && echo before > /v/before
VOLUME /v
COPY added /v/copied
""", {"added": "a"}),
    Case("cmd-forms", """
FROM base
CMD one
CMD ["exec", "form $x"]
"""),
    Case("cmd-shell", """
FROM base
CMD echo "two words" | cat
"""),
    Case("cmd-empty", """
FROM base
CMD []
"""),
    Case("entrypoint-resets-cmd", """
FROM triggers
ENTRYPOINT ["/entry", "arg"]
""", {"trigger": "t"}),
    Case("entrypoint-and-cmd", """
FROM base
CMD ["first"]
ENTRYPOINT exec /entry
CMD ["second"]
"""),
    Case("entrypoint-empty", """
FROM triggers
ENTRYPOINT []
CMD ["x"]
""", {"trigger": "t"}),
    Case("cmd-keeps-entrypoint", """
FROM triggers
CMD ["new"]
""", {"trigger": "t"}),
    Case("shell", """
FROM base
SHELL ["/bin/sh", "-ec"]
RUN echo $0 > /out; false || echo ok >> /out
CMD echo x
SHELL ["/bin/busybox", "sh", "-c"]
ENTRYPOINT y
""", differs={
        "config Cmd": (["/bin/sh", "-ec", "echo x"], "buildah doesn't use SHELL for CMD"),
        "config Entrypoint": (["/bin/busybox", "sh", "-c", "y"], "nor for ENTRYPOINT")}),
    Case("stopsignal", """
FROM scratch
STOPSIGNAL SIGUSR1
"""),
    Case("stopsignal-number", """
FROM scratch
ARG S=9
STOPSIGNAL $S
"""),
    Case("healthcheck", """
FROM base
HEALTHCHECK --interval=1m30s --timeout=5s --start-period=10s --retries=4 CMD wget -q x || exit 1
"""),
    Case("healthcheck-exec", """
FROM base
HEALTHCHECK CMD ["/bin/true", "a b"]
"""),
    Case("healthcheck-none", """
FROM base
HEALTHCHECK CMD x
HEALTHCHECK NONE
"""),
    Case("healthcheck-start-interval", """
FROM base
HEALTHCHECK --start-interval=500ms CMD x
""", without_buildah="buildah has --start-interval since 1.32", expect={
        "config Healthcheck": {"Test": ["CMD-SHELL", "x"], "StartInterval": 500_000_000}}),
    Case("maintainer", """
FROM scratch
MAINTAINER A. Nobody <nobody@example.org>
"""),
    Case("onbuild", """
FROM base
ONBUILD RUN echo hi
ONBUILD COPY --chown=1:2 a b
onbuild env X="y z"
ONBUILD HEALTHCHECK NONE
"""),
    Case("onbuild-carried-out", """
FROM triggers
RUN ls -l /triggered > /listing
""", {"trigger": "t\n"}),
    Case("onbuild-of-a-stage", """
FROM base AS one
ONBUILD RUN echo triggered > /triggered
FROM one
RUN cat /triggered > /again
""", expect={"config OnBuild": None}),
    Case("scratch", "FROM scratch\nCOPY a /\n", {"a": "x"}),
    Case("inherited", "FROM triggers\n", {"trigger": "t"}, expect={
        "/triggered": directory(), "config OnBuild": None}),
    Case("lower-case", """
from base as one
env a=b
run echo $a > /out
from scratch
copy --from=one /out /
"""),
    Case("option-env-label-annotation", """
FROM base
ENV A=1
LABEL l=1
""", args=["--label", "l=2", "--label", "m=3", "--env", "A=2", "--env", "B=3"]),
]  # fmt: skip
