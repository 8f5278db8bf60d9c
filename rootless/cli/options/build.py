"""The options of build (podman-build(1), docker-buildx-build(1))."""

from rootless.cli.options.common import AUTHFILE, NO_TRUST, PLATFORM, TLS_VERIFY
from rootless.cli.options.table import FLAG, Verb, flag, many, missing, number, value, words

_WHAT, _IMAGE, _STEPS = "What to build", "The image", "RUN steps"
_CACHE, _RESULT, _REGISTRY = "Cache", "Where the result goes", "Registries"
_SHOWN, _NETWORK = "What is shown", "Network of RUN steps"
_LIMITS = "Limits of RUN steps"

_what = (
    many("-f --file", "FILE", "Read this Containerfile: a path, a URL, or - for standard input;"
         " several are read as one", group=_WHAT, complete="file"),
    value("--target", "STAGE", "Build up to this stage", group=_WHAT),
    many("--build-arg", "NAME[=VALUE]", "Set a build argument; without a value, take over the"
         " variable of yours", group=_WHAT),
    many("--build-arg-file", "FILE", "Read build arguments from FILE, one a line", group=_WHAT,
         complete="file"),
    many("--build-context", "NAME=SOURCE", "Another context: a directory, an archive, a URL, or"
         " docker-image://IMAGE, which may also stand in for an image or a stage", group=_WHAT),
    value("--ignorefile", "FILE", "Take the patterns of what isn't part of the context from FILE",
          group=_WHAT, complete="file"),
    value("--from", "IMAGE", "Take this instead of the image of the first FROM", group=_WHAT,
          complete="image"),
    words("--platform", "OS/ARCH[/VARIANT]", "Build for this platform; several make a manifest"
          " list", group=_WHAT),
    *PLATFORM(_WHAT)[1:],
    value("--os-version", "VERSION", "Note in the image that it needs this version of its system",
          group=_WHAT),
    words("--os-feature", "FEATURE", "Note that it needs this feature; FEATURE- takes one of the"
          " base image away", group=_WHAT),
    number("--jobs", "N", "How many stages are built at once; 0 for no limit (default: as many"
           " as there are processors)", group=_WHAT),
    flag("--skip-unused-stages", "Leave out stages that the result doesn't need", default=True,
         group=_WHAT),
)  # fmt: skip

_image = (
    many("-t --tag", "NAME", "Name the image", group=_IMAGE),
    many("--label", "KEY[=VALUE]", "Label the image", group=_IMAGE),
    many("--annotation", "KEY=VALUE", "Add an annotation to the image's manifest", group=_IMAGE),
    many("--env", "NAME[=VALUE]", "Set a variable in the image", group=_IMAGE),
    many("--unsetenv", "NAME", "Take a variable out of the image", group=_IMAGE),
    many("--unsetlabel", "KEY", "Take a label of the base image out of the image", group=_IMAGE),
    many("--unsetannotation", "KEY", "Take an annotation of the base image out of the image",
         group=_IMAGE),
    flag("--inherit-labels", "Keep the labels of base images and base stages", default=True,
         group=_IMAGE),
    flag("--inherit-annotations", "Keep the annotations of the base image", default=True,
         group=_IMAGE),
    flag("--identity-label", "Label the image io.rl.version with the version of rl",
         group=_IMAGE),
    flag("--created-annotation", "Annotate the image with the time of its making",
         group=_IMAGE),
    value("--format", "FORMAT", "Type of the image: oci or docker (default: oci)",
          choices=("oci", "docker"), group=_IMAGE),
    flag("--layers", "Make a layer of each instruction, and keep it for later builds; off, there"
         " is one new layer and nothing is kept", default=True, group=_IMAGE),
    flag("--squash", "Make one layer of all new ones", group=_IMAGE),
    flag("--squash-all", "Make one layer of all, those of the base image among them",
         group=_IMAGE),
    number("--timestamp", "SECONDS", "Give the image and every new file this time, in seconds"
          " since 1970", group=_IMAGE),
    number("--source-date-epoch", "SECONDS", "Give the image this time, in seconds since 1970,"
           " and no new file a later one"
          " (default: $SOURCE_DATE_EPOCH)", group=_IMAGE),
    flag("--rewrite-timestamp", "Give no new file a later time than --source-date-epoch; off,"
         " files keep the time they have", default=True, group=_IMAGE),
    flag("--omit-history", "Leave the history out of the image", group=_IMAGE),
)  # fmt: skip

_steps = (
    many("--secret", "id=ID[,src=FILE|,env=NAME]", "A secret that RUN --mount=type=secret may see",
         group=_STEPS),
    many("--ssh", "default|ID[=SOCKET|KEY,...]", "An SSH agent, or keys in files, that"
         " RUN --mount=type=ssh may use", group=_STEPS),
    many("-v --volume", "SOURCE:DIR[:OPTIONS]", "Mount a directory of this machine in every step",
         group=_STEPS, complete="file"),
    many("--device", "PATH[:DIR[:RWM]]", "Add a device of this machine", group=_STEPS,
         complete="file"),
    words("--cap-add", "CAPABILITY", "Add a capability", group=_STEPS),
    words("--cap-drop", "CAPABILITY", "Take a capability away", group=_STEPS),
    many("--security-opt", "OPTION", "no-new-privileges, seccomp=FILE|unconfined, mask=PATH,"
         " unmask=PATH|ALL, label=…, apparmor=…", group=_STEPS),
    words("--allow", "ENTITLEMENT", "Let steps ask for security.insecure or network.host",
          group=_STEPS),
    flag("--http-proxy", "Let steps see your proxy variables", default=True, group=_STEPS),
    many("--group-add", "GROUP", "Add a group to the program of a step; keep-groups keeps yours of"
         " this machine", group=_STEPS),
    value("--ipc", "MODE", "IPC namespace: private or host (default: private)",
          choices=("private", "host"), group=_STEPS),
    value("--uts", "MODE", "Host name namespace: private or host (default: private)",
          choices=("private", "host"), group=_STEPS),
    value("--cgroupns", "MODE", "Cgroup namespace: private or host (default: private with cgroups"
          " of version 2)", choices=("private", "host"), group=_STEPS),
    value("--pid", "MODE", "Process namespace: private, and nothing else, so that no process"
          " outlives its step", choices=("private",), group=_STEPS),
    value("--userns", "MODE", "User namespace: host or container, which are the same here: that of"
          " all containers", choices=("host", "container", "private"), group=_STEPS),
    value("--isolation", "KIND", "How steps run: oci, rootless or default, which are the same here:"
          " in containers", choices=("oci", "rootless", "default"), group=_STEPS),
    flag("--rm", "Remove what steps ran in; it can't be turned off", default=True, group=_STEPS),
    flag("--force-rm", "Remove it after a failure, too; it can't be turned off", default=True,
         group=_STEPS),
)  # fmt: skip

_limits = (
    value("-m --memory", "SIZE", "Memory of a step at most, for example 512m", group=_LIMITS),
    value("--memory-swap", "SIZE", "Memory and swap of a step together at most; -1: any (default:"
          " twice --memory)", group=_LIMITS),
    number("-c --cpu-shares", "N", "Share of a processor that all want (default: 1024)",
           group=_LIMITS),
    number("--cpu-period", "MICROSECONDS", "Period that --cpu-quota counts for", group=_LIMITS),
    number("--cpu-quota", "MICROSECONDS", "Processor time in each period; -1: any", least=None,
           group=_LIMITS),
    value("--cpuset-cpus", "LIST", "Processors a step may run on, for example 0-3,8",
          group=_LIMITS),
    value("--cpuset-mems", "LIST", "Memory nodes it may use", group=_LIMITS),
    value("--cgroup-parent", "NAME", "Slice of systemd, or cgroup below this one, that steps are"
          " in", group=_LIMITS),
    value("--shm-size", "SIZE", "Size of /dev/shm (default: 64m)", group=_LIMITS),
    words("--ulimit", "NAME=SOFT[:HARD]", "Set a limit of setrlimit(2)", group=_LIMITS),
)  # fmt: skip

_network = (
    value("--network --net", "MODE", "Network of RUN steps: private, host or none (default:"
          " private)", group=_NETWORK),
    words("--add-host", "HOST:ADDRESS", "Add a line to /etc/hosts", group=_NETWORK),
    flag("--no-hosts", "Keep the image's /etc/hosts", group=_NETWORK),
    flag("--no-hostname", "Keep the image's /etc/hostname", group=_NETWORK),
    words("--dns", "ADDRESS", "Use this name server; none keeps the image's resolv.conf",
          group=_NETWORK),
    words("--dns-option", "OPTION", "Add an option to resolv.conf", group=_NETWORK),
    words("--dns-search", "DOMAIN", "Search this domain for short names", group=_NETWORK),
)  # fmt: skip

_cache = (
    flag("--no-cache", "Do every step anew", group=_CACHE),
    words("--no-cache-filter", "STAGE", "Do the steps of this stage anew", group=_CACHE),
    many("--cache-from", "SOURCE", "Look here, too, for steps that are done: REPOSITORY,"
         " type=registry,ref=NAME or type=local,src=DIR", group=_CACHE),
    many("--cache-to", "DESTINATION", "Leave the steps done here: REPOSITORY,"
         " type=registry,ref=NAME, type=local,dest=DIR, or type=inline for the image itself",
         group=_CACHE),
    value("--cache-ttl", "TIME", "Don't use what is older: 24h, 30m", group=_CACHE),
)  # fmt: skip

_result = (
    many("-o --output", "DIR|type=TYPE,...", "Where the result goes: DIR, - for an archive on"
         " standard output, or type= local, tar, oci, docker, image or registry", group=_RESULT),
    flag("--load", "Keep the image here; also the default", group=_RESULT),
    flag("--push", "Push the image to where its names say", group=_RESULT),
    value("--manifest", "LIST", "Add the image to this manifest list, made if it isn't there",
          group=_RESULT),
    value("--iidfile", "FILE", "Write the image's id to FILE", group=_RESULT, complete="file"),
    value("--provenance", "false", "Only false: rl makes no attestations", bare="true",
          group=_RESULT),
    value("--sbom", "false", "Only false: rl makes no attestations", bare="true", group=_RESULT),
    value("--metadata-file", "FILE", "Write what is known of the result to FILE, as JSON",
          group=_RESULT, complete="file"),
)  # fmt: skip

_registry = (
    value("--pull", "POLICY", "When to pull base images: always, missing, never or newer"
          " (default: missing; --pull alone: always)", bare="true", group=_REGISTRY,
          choices=("always", "missing", "never", "newer", "ifnewer", "ifmissing", "true",
                   "false")),
    flag("--pull-always", "The same as --pull=always", group=_REGISTRY),
    flag("--pull-never", "The same as --pull=never", group=_REGISTRY),
    AUTHFILE(_REGISTRY),
    value("--cert-dir", "DIR", "Take certificates and keys from DIR", complete="dir",
          group=_REGISTRY),
    value("--creds", "USER[:PASSWORD]", "Log in with these, only this time", group=_REGISTRY),
    number("--retry", "N", "Try N more times where that may help (default: 3)", group=_REGISTRY),
    value("--retry-delay", "TIME", "Wait that long before the first new try, twice as long"
          " before the next (default: 1s)", group=_REGISTRY),
    TLS_VERIFY(_REGISTRY),
)  # fmt: skip

_shown = (
    flag("-q --quiet", "Print only the image's id", group=_SHOWN),
    value("--progress", "FORM", "How progress is shown: auto, plain, tty, quiet or rawjson"
          " (default: auto)", choices=("auto", "plain", "tty", "quiet", "rawjson"),
          group=_SHOWN),
    value("--logfile", "FILE", "Write what the steps say to FILE", group=_SHOWN, complete="file"),
    flag("--logsplit", "With --logfile: a file for each platform", group=_SHOWN),
    value("--call", "WHAT", "build, or check for what --check does", choices=("build", "check"),
          group=_SHOWN),
    flag("--check", "Only look for mistakes in the Containerfile", group=_SHOWN),
)  # fmt: skip

_NOT_BUILT = (
    *missing("all steps have the ids that rl info shows", "--userns-uid-map --userns-gid-map"
             " --userns-uid-map-user --userns-gid-map-group"),
    *missing("rl runs steps itself", "--runtime --runtime-flag"),
    *missing("rl runs no hooks", "--hooks-dir"),
    *missing("steps read nothing from standard input", "--stdin", FLAG),
    *missing("Containerfiles are not run through a preprocessor; do it before:"
             " cpp -E -P Containerfile.in | rl build -f - .", "--cpp-flag"),
    *missing("layers are compressed when they are pushed or saved", "--compress"
             " -D,--disable-compression", FLAG),
    *missing("there are no images of single steps or stages; --target STAGE builds one",
             "--save-stages --stage-labels", FLAG),
    *missing("there are no images of single steps; --label is for the image", "--layer-label"),
    *missing("--volume SOURCE:DIR:ro mounts files in every step", "--transient-mount"),
    *missing("COPY takes files of the context, or of a --build-context", "--add-file"),
    *missing("rl makes no lists of packages; a scanner can read: rl build -o type=oci,dest=FILE",
             "--sbom-image-output --sbom-merge-strategy --sbom-output --sbom-purl-output"
             " --sbom-scanner-command --sbom-scanner-image --sbom-image-purl-output"),
    *missing("directories that VOLUME names are kept as they are", "--compat-volumes", FLAG),
    *missing("name the platforms: --platform linux/amd64,linux/arm64", "--all-platforms", FLAG),
    *missing("rl makes no attestations", "--attest"),
    *missing("there is one builder, rl itself", "--builder"),
    *missing("signing is not supported by this version", "--sign-by"),
    *missing("encryption is not supported by this version", "--decryption-key"),
    *missing(NO_TRUST, "--disable-content-trust", FLAG),
)  # fmt: skip

VERBS = (
    Verb(
        "build",
        "Build an image from a Containerfile",
        (*_what, *_image, *_steps, *_limits, *_network, *_cache, *_result, *_registry, *_shown,
         *_NOT_BUILT),
        "[CONTEXT]",
        0,
        1,
        complete="dir",
        examples=(
            ("From ./Containerfile or ./Dockerfile", "rl build -t app ."),
            ("With an argument, up to a stage", "rl build --build-arg VERSION=2 --target test ."),
            ("The files of the last stage into ./out", "rl build -o out ."),
            ("For two platforms, pushed",
             "rl build --platform linux/amd64,linux/arm64 -t registry.example/app --push ."),
        ),
    ),
)  # fmt: skip
