"""The options of run and create (podman-run(1), podman-create(1))."""

from rootless.cli.options.common import (
    AUTHFILE,
    DETACH_KEYS,
    NO_TRUST,
    PLATFORM,
    TLS_VERIFY,
)
from rootless.cli.options.limits import CGROUPS
from rootless.cli.options.table import FLAG, Verb, flag, many, missing, number, value, words

_LIFE, _IMAGE, _PROCESS = "Life of the container", "Image", "Process"
_ENV, _FILES, _NETWORK = "Environment", "Files and volumes", "Network"
_SPACES, _SECURITY = "Users and namespaces", "Confinement"
_HEALTH, _LOGS = "Health checks", "Logs"

_life = (
    value("--name", "NAME", "Name the container", group=_LIFE),
    value("--cidfile", "FILE", "Write the container's id to FILE", group=_LIFE, complete="file"),
    value("--pidfile", "FILE", "Write the pid of its first process to FILE", group=_LIFE,
          complete="file"),
    flag("--replace", "Remove a container that has the same name first", group=_LIFE),
    value("--restart", "POLICY",
          "When to start it again after it has ended: no, on-failure[:TIMES], always,"
          " unless-stopped (default: no)", group=_LIFE),
    words("--requires", "CONTAINER", "Start these containers first", group=_LIFE,
          complete="container"),
    value("--stop-signal", "SIGNAL", "The signal that asks it to end (default: SIGTERM)",
          group=_LIFE),
    number("--stop-timeout", "SECONDS", "How long stop waits before it kills (default: 10)",
           group=_LIFE),
    number("--timeout", "SECONDS", "Kill the container when it has run that long (0: never)",
           group=_LIFE),
    many("-l --label", "KEY=VALUE", "Label the container", group=_LIFE),
    many("--label-file", "FILE", "Read labels from FILE, one a line", group=_LIFE,
         complete="file"),
    many("--annotation", "KEY=VALUE", "Add an annotation to its OCI configuration",
         group=_LIFE),
)  # fmt: skip

_image = (
    value("--pull", "POLICY",
          "When to pull the image: always, missing, never, newer (default: missing)",
          choices=("always", "missing", "never", "newer"), group=_IMAGE),
    *PLATFORM(_IMAGE),
    AUTHFILE(_IMAGE),
    TLS_VERIFY(_IMAGE),
    flag("-q --quiet", "Don't show the progress of pulling", group=_IMAGE),
    value("--image-volume", "MODE",
          "What becomes of the image's volumes: anonymous (or bind), tmpfs, ignore"
          " (default: anonymous)",
          choices=("anonymous", "bind", "tmpfs", "ignore"), group=_IMAGE),
    flag("--rootfs", "The argument is a root directory, not an image; DIR:O keeps it unchanged",
         group=_IMAGE),
)  # fmt: skip

_process = (
    flag("-i --interactive", "Keep its standard input open", group=_PROCESS),
    flag("-t --tty", "Give it a terminal", group=_PROCESS),
    words("-a --attach", "STREAM", "Attach only these streams: stdin, stdout, stderr",
          group=_PROCESS),
    value("--entrypoint", "COMMAND",
          "Run this instead of the image's entrypoint; a JSON list is taken as words",
          group=_PROCESS),
    value("-w --workdir", "DIR", "Start in this directory of the container", group=_PROCESS),
    value("-u --user", "USER[:GROUP]", "Run as this user, by name or number", group=_PROCESS),
    words("--group-add", "GROUP",
          "Add a group to the process; keep-groups keeps yours of this machine",
          group=_PROCESS),
    flag("--init", "Let a tiny init be pid 1, which passes signals on and reaps",
         group=_PROCESS),
    value("--umask", "MASK", "File mode mask, in octal (default: 0022)", group=_PROCESS),
    words("--ulimit", "NAME=SOFT[:HARD]", "Set a limit of setrlimit(2); host keeps yours",
          group=_PROCESS),
    number("--oom-score-adj", "SCORE", "Be killed sooner (1000) or later when memory is short",
           least=None, group=_PROCESS),
    value("--systemd", "MODE",
          "Prepare the container for systemd: true if the command is systemd, always, false"
          " (default: true)", choices=("true", "false", "always"), group=_PROCESS),
)  # fmt: skip

_environment = (
    many("-e --env", "NAME[=VALUE]", "Set a variable; without a value, take over yours",
         group=_ENV),
    many("--env-file", "FILE", "Read variables from FILE, one a line", group=_ENV,
         complete="file"),
    flag("--env-host", "Take over your whole environment", group=_ENV),
    many("--unsetenv", "NAME", "Don't set this variable of the image or of rl", group=_ENV),
    flag("--unsetenv-all", "Set no variable of the image or of rl", group=_ENV),
    many("--env-merge", "NAME=VALUE", "Set a variable; $NAME in the value is the image's",
         group=_ENV),
    flag("--http-proxy", "Take over your proxy variables", default=True, group=_ENV),
    value("--tz", "ZONE", "Time zone: a name of the zone database, or local", group=_ENV),
)  # fmt: skip

_files = (
    many("-v --volume", "[SOURCE:]DIR[:OPTIONS]",
         "Mount a directory of this machine, or a volume by its name", group=_FILES,
         complete="file"),
    many("--mount", "type=TYPE,...", "Mount of type bind, volume, tmpfs or image",
         group=_FILES),
    many("--volumes-from", "CONTAINER[:OPTIONS]", "Mount the volumes of another container",
         group=_FILES, complete="container"),
    many("--tmpfs", "DIR[:OPTIONS]", "Mount an empty file system in memory", group=_FILES),
    flag("--read-only", "Make the root file system read-only", group=_FILES),
    flag("--read-only-tmpfs", "With --read-only: still make /run, /tmp and /var/tmp writable",
         default=True, group=_FILES),
    value("--shm-size", "SIZE", "Size of /dev/shm: 64m, 1g (default: 64m)", group=_FILES),
    words("--device", "PATH[:DIR[:RWM]]", "Add a device of this machine", group=_FILES,
          complete="file"),
    flag("--passwd", "Add the user to the container's /etc/passwd and /etc/group",
         default=True, group=_FILES),
    value("--passwd-entry", "LINE", "The line to add to /etc/passwd", group=_FILES),
    value("--group-entry", "LINE", "The line to add to /etc/group", group=_FILES),
    words("--hostuser", "USER", "Add a user of this machine to /etc/passwd", group=_FILES),
)  # fmt: skip

_network = (
    many("--network --net", "MODE",
         "none, host, private, pasta[:OPTIONS], slirp4netns[:OPTIONS], container:NAME,"
         " ns:PATH, or a network's NAME[:ip=…,mac=…,alias=…,interface_name=…]",
         group=_NETWORK),
    words("-p --publish", "[ADDRESS:][HOST PORT:]PORT[/PROTOCOL]",
          "Let a port of this machine lead to one of the container; ranges too: 8000-8010:80-90",
          group=_NETWORK),
    flag("-P --publish-all", "Publish every exposed port on a free port of this machine",
         group=_NETWORK),
    words("--expose", "PORT[/PROTOCOL]", "Say that the container serves this port", group=_NETWORK),
    value("--network-rate", "RATE",
          "Limit what it sends and receives: 10mbit, or egress=RATE,ingress=RATE[,burst=SIZE]"
          "[,latency=TIME]", group=_NETWORK),
    words("--network-alias", "NAME", "Another name for it on its networks", group=_NETWORK),
    value("--ip", "ADDRESS", "Its IPv4 address on a network of your own", group=_NETWORK),
    value("--ip6", "ADDRESS", "Its IPv6 address on a network of your own", group=_NETWORK),
    value("--mac-address", "ADDRESS", "The address of its network interface", group=_NETWORK),
    value("-h --hostname", "NAME", "The container's host name", group=_NETWORK),
    words("--add-host", "HOST:ADDRESS", "Add a line to /etc/hosts", group=_NETWORK),
    flag("--no-hosts", "Keep the image's /etc/hosts", group=_NETWORK),
    flag("--no-hostname", "Keep the image's /etc/hostname", group=_NETWORK),
    value("--hosts-file", "FILE",
          "Begin /etc/hosts with FILE instead of this machine's; image for the image's, none",
          group=_NETWORK, complete="file"),
    words("--dns", "ADDRESS", "Use this name server; none keeps the image's resolv.conf",
          group=_NETWORK),
    words("--dns-option --dns-opt", "OPTION", "Add an option to resolv.conf", group=_NETWORK),
    words("--dns-search", "DOMAIN", "Search this domain for short names; . for none",
          group=_NETWORK),
)  # fmt: skip

_spaces = (
    value("--userns", "MODE", "User namespace: host, keep-id[:uid=N,gid=N], auto[:size=N],"
          " nomap, container:NAME or ns:PATH", group=_SPACES),
    words("--uidmap", "INSIDE:OUTSIDE:COUNT", "Map these user ids", group=_SPACES),
    words("--gidmap", "INSIDE:OUTSIDE:COUNT", "Map these group ids", group=_SPACES),
    value("--pid", "MODE", "Process namespace: private, host, container:NAME or ns:PATH",
          group=_SPACES),
    value("--ipc", "MODE",
          "IPC namespace: shareable, private, none, host, container:NAME or ns:PATH",
          group=_SPACES),
    value("--uts", "MODE", "Host name namespace: private, host, container:NAME or ns:PATH",
          group=_SPACES),
    value("--cgroupns", "MODE", "Cgroup namespace: private, host, container:NAME or ns:PATH",
          group=_SPACES),
    words("--sysctl", "NAME=VALUE", "Set a kernel parameter of its own namespaces",
          group=_SPACES),
)  # fmt: skip

_security = (
    words("--cap-add", "CAPABILITY", "Add a capability; all adds every one",
          group=_SECURITY),
    words("--cap-drop", "CAPABILITY", "Take a capability away; all takes every one",
          group=_SECURITY),
    many("--security-opt", "OPTION", "no-new-privileges, seccomp=FILE|unconfined, mask=PATH,"
         " unmask=PATH|ALL, proc-opts=OPTIONS, label=…, apparmor=…", group=_SECURITY),
    flag("--privileged", "Turn confinement off, up to what you may do yourself",
         group=_SECURITY),
)  # fmt: skip

_health = (
    value("--health-cmd --healthcheck-command", "COMMAND",
          "Command that tells whether the container is healthy; none for no check",
          group=_HEALTH),
    value("--health-interval --healthcheck-interval", "DURATION",
          "Time between checks; disable for none by itself (default: 30s)", group=_HEALTH),
    number("--health-retries --healthcheck-retries", "N",
           "Failures in a row that make it unhealthy (default: 3)", group=_HEALTH),
    value("--health-start-period --healthcheck-start-period", "DURATION",
          "Time to start in which failures don't count (default: 0s)", group=_HEALTH),
    value("--health-timeout --healthcheck-timeout", "DURATION",
          "Time after which a check has failed (default: 30s)", group=_HEALTH),
    value("--health-on-failure", "ACTION",
          "What to do with an unhealthy container: none, kill, restart, stop (default: none)",
          choices=("none", "kill", "restart", "stop"), group=_HEALTH),
    flag("--no-healthcheck", "Don't run the image's check", group=_HEALTH),
)  # fmt: skip

_logs = (
    value("--log-driver", "DRIVER",
          "Where output goes: k8s-file, json-file, journald, passthrough, none"
          " (default: k8s-file)",
          choices=("k8s-file", "json-file", "journald", "passthrough", "none"), group=_LOGS),
    many("--log-opt", "NAME=VALUE", "Option of the log driver: path, max-size, tag",
         group=_LOGS),
)  # fmt: skip

_ONLY_RUN = (
    flag("--rm", "Remove the container when it has ended", group=_LIFE),
    flag("-d --detach", "Print the container's id and leave it running", group=_LIFE),
    DETACH_KEYS(_PROCESS),
    flag("--sig-proxy", "Pass signals on to the container", default=True, group=_PROCESS),
    number("--preserve-fds", "N", "Pass N more open files on, from 3 up", group=_PROCESS),
)

_NOT_BUILT = (
    *missing("pods are not supported by this version", "--pod --pod-id-file"),
    *missing("secrets are not supported by this version; -v FILE:/run/secrets/NAME:ro mounts one",
             "--secret"),
    *missing(
        "reading registry certificates or credentials from options is for pull: pull first",
        "--cert-dir --creds --decryption-key",
    ),
    *missing("device cgroup rules need root", "--device-cgroup-rule"),
    *missing("devices of other kinds than files are not supported by this version", "--gpus"),
    *missing(
        "a container's monitor is part of rl: use --pidfile for the container's own process",
        "--conmon-pidfile",
    ),
    *missing("rl brings its own init: use --init", "--init-path"),
    *missing(NO_TRUST, "--disable-content-trust", FLAG),
    *missing("this version does not support it", "--rmi", FLAG),
    *missing(
        "this version does not support it",
        "--chrootdirs --link --personality --preserve-fd"
        " --rdt-class --retry --retry-delay --sdnotify --seccomp-policy --shm-size-systemd"
        " --subgidname --subuidname --volume-driver --health-log-destination"
        " --health-max-log-count --health-max-log-size --health-startup-cmd"
        " --health-startup-interval --health-startup-retries --health-startup-success"
        " --health-startup-timeout",
    ),
)

_SHARED = (
    *_life, *_process, *_environment, *_files, *_network, *_spaces, *_security, *_image,
    *_health, *_logs, *CGROUPS(),
)  # fmt: skip

VERBS = (
    Verb(
        "run",
        "Run a command in a new container",
        (*_ONLY_RUN[:2], *_SHARED, *_ONLY_RUN[2:], *_NOT_BUILT),
        "IMAGE [COMMAND [ARG...]]",
        1,
        passthrough=True,
        complete="image",
        examples=(
            ("A shell in a Debian image, removed afterwards", "rl run --rm -it debian bash"),
            ("The current directory inside, as yourself",
             "rl run --rm -v .:/work -w /work --userns keep-id debian make"),
            ("A service that is left running", "rl run -d --name web --restart always nginx"),
            ("A program of this machine, with no image at all", "rl run --rm elf:/usr/bin/env A=1"),
        ),
    ),
    Verb(
        "create",
        "Create a container and leave it to be started",
        (
            flag("--rm", "Remove the container when it has ended", group=_LIFE),
            *_SHARED,
            *_NOT_BUILT,
        ),
        "IMAGE [COMMAND [ARG...]]",
        1,
        passthrough=True,
        complete="image",
        examples=(
            ("Create now, start later", "rl create --name job debian sh -c 'echo hello'"),
            ("", "rl start --attach job"),
        ),
    ),
)  # fmt: skip
