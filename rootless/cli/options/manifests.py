"""Verbs about manifest lists (podman-manifest(1))."""

from rootless.cli.options.common import AUTHFILE, CERT_DIR, COMPRESSION, CREDS, IGNORE, TLS_VERIFY
from rootless.cli.options.table import FLAG, Verb, flag, many, missing, number, value, words

_INSECURE = flag("--insecure", "The same as --tls-verify=false")
_ALL = flag("--all", "Of an image that is a list itself, add all its images")
_ANNOTATION = many("--annotation", "KEY=VALUE", "Annotate the image's entry")
_ENTRY = (
    value("--arch", "ARCH", "Say that the image is for this architecture"),
    words("--features", "FEATURE", "Say which features of the processor the image needs"),
    value("--os", "OS", "Say that the image is for this operating system"),
    words("--os-features", "FEATURE", "Say which features of the system the image needs"),
    value("--os-version", "VERSION", "Say which version of the system the image needs"),
    value("--variant", "VARIANT", "Say for which variant of the architecture the image is"),
)
_NO_ARTIFACTS = missing(
    "lists of rl hold images only",
    "--artifact-type --artifact-config --artifact-config-type --artifact-layer-type"
    " --artifact-subject --artifact-annotations",
)

VERBS = (
    Verb(
        "manifest create",
        "Make a manifest list",
        (
            _ALL,
            flag("-a --amend", "Add to a list of that name, if there is one"),
            many("--annotation", "KEY=VALUE", "Annotate the list"),
            AUTHFILE(),
            CERT_DIR,
            CREDS,
            _INSECURE,
            TLS_VERIFY(),
        ),
        "LIST [IMAGE...]",
        1,
        examples=(
            ("", "rl manifest create app:1"),
            ("With two images", "rl manifest create app:1 app:1-amd64 docker://quay.io/a/app:1"),
        ),
    ),
    Verb(
        "manifest add",
        "Add images to a manifest list",
        (
            _ALL,
            _ANNOTATION,
            AUTHFILE(),
            CERT_DIR,
            CREDS,
            *_ENTRY,
            _INSECURE,
            TLS_VERIFY(),
            *missing("lists of rl hold images only", "--artifact", FLAG),
            *_NO_ARTIFACTS,
        ),
        "LIST IMAGE [IMAGE...]",
        2,
        complete="image",
        examples=(("", "rl manifest add --arch arm64 app:1 app:1-arm"),),
    ),
    Verb(
        "manifest annotate",
        "Change what a manifest list says of an image",
        (
            many("--annotation", "KEY=VALUE", "Annotate the image's entry; with --index the list"),
            *_ENTRY,
            flag("--index", "Annotate the list itself"),
            *missing("lists of rl refer to nothing", "--subject"),
        ),
        "LIST [IMAGE]",
        1,
        2,
        complete="image",
        examples=(("", "rl manifest annotate --variant v7 app:1 app:1-arm"),),
    ),
    Verb(
        "manifest inspect",
        "Show a manifest list, of here or of a registry",
        (
            AUTHFILE(),
            _INSECURE,
            TLS_VERIFY(),
            *missing("there is one form, the list's own", "-v,--verbose", FLAG),
        ),
        "LIST",
        1,
        1,
        complete="image",
        examples=(("", "rl manifest inspect app:1"),),
    ),
    Verb(
        "manifest push",
        "Send a manifest list and its images to a registry, into an archive or a directory",
        (
            flag("--all", "Send the images, too", default=True),
            AUTHFILE(),
            CERT_DIR,
            *COMPRESSION,
            CREDS,
            value("--digestfile", "FILE", "Write the list's digest to FILE", complete="file"),
            value("-f --format", "FORMAT", "Type of the list: oci, docker (or v2s2) (default: as"
                  " it is)", choices=("oci", "docker", "v2s2")),
            _INSECURE,
            flag("-q --quiet", "Don't show progress"),
            number("--retry", "N", "Try N more times where that may help (default: 3)"),
            value("--retry-delay", "TIME", "Wait that long before the first new try, twice as"
                  " long before the next (default: 1s)"),
            flag("-p --rm --purge", "Remove the list here once it is there"),
            TLS_VERIFY(),
            *missing("images go in one form; push them twice for two", "--add-compression"),
            *missing("layers always go as --compression-format says, without it unchanged",
                     "--force-compression", FLAG),
            *missing("rl knows no signatures, so that none are sent", "--remove-signatures", FLAG),
            *missing("signing is not supported by this version", "--sign-by --sign-passphrase-file"
                     " --sign-by-sigstore --sign-by-sigstore-private-key"),
        ),
        "LIST [DESTINATION]",
        1,
        2,
        complete="image",
        examples=(
            ("", "rl manifest push app:1 registry.example:5000/team/app:1"),
            ("Into an archive", "rl manifest push app:1 oci-archive:app.tar"),
        ),
    ),
    Verb("manifest remove", "Take an image out of a manifest list", (), "LIST DIGEST|IMAGE", 2, 2,
         complete="image"),
    Verb("manifest rm", "Remove manifest lists", (IGNORE,), "LIST [LIST...]", 1, complete="image"),
    Verb("manifest exists", "End with 0 if the manifest list exists, with 1 if not", (), "LIST",
         1, 1, complete="image"),
)  # fmt: skip
