"""What can be wrong with the place that a build's files come from."""

from rootless.errors import RlError


class NoContext(RlError):
    """{0!r} is not a directory that can be built from: {1}"""

    hint = "name a directory, a URL, a git repository, or - for what comes on the standard input"


class BadGitUrl(RlError):
    """{0!r} is not the address of a git repository: {1}"""

    hint = "write it as https://HOST/REPO.git#REF:DIRECTORY"


class NoGit(RlError):
    """git is needed for {0!r}, and isn't installed"""

    hint = "install git, or fetch the repository by other means and name its directory"


class GitFailed(RlError):
    """git could not {what} {url}: {said}"""

    hint = "try it by hand: git ls-remote {url}"


class NoSubdirectory(RlError):
    """{0!r} is not a directory of {1}: {2}"""

    hint = "name a directory inside, that no symbolic link leads to"


class WrongCommit(RlError):
    """{url} gives the commit {found}, not {wanted}"""


class DownloadFailed(RlError):
    """cannot fetch {url}: {why}"""

    hint = "look at the address; what needs a login can't be fetched by a build"


class WrongChecksum(RlError):
    """{url} has the checksum {found}, not {wanted}"""

    hint = "what is there was changed; if you trust it, write the new checksum"


class BadChecksum(RlError):
    """{0!r} is not a checksum"""

    hint = "write sha256: and 64 hex digits; for git the commit"


class NoContainerfile(RlError):
    """there is no Containerfile or Dockerfile in {0}"""

    hint = "make one, or name it: -f FILE"


class BadContainerfile(RlError):
    """cannot read the Containerfile {0}: {1}"""

    hint = "name another one: -f FILE"


class BadIgnoreFile(RlError):
    """cannot read the ignore file {0}: {1}"""

    hint = "make it an ordinary file inside the context, or name one: --ignorefile FILE"


class StdinTwice(RlError):
    """the standard input can't be both the context and the Containerfile"""

    hint = "put the Containerfile into the archive, or name it with -f"


class BadContextArchive(RlError):
    """{0} can't be used as a context: {1}"""

    hint = "make it with: tar -C DIRECTORY -c ."
