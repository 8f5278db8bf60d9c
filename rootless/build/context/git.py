"""A commit of a git repository, checked out into a private directory.

Nothing that comes from an address is ever an argument of git: the address goes in as
configuration, names of refs are checked (places.check_ref) and stand behind ``--`` or in a
refspec.  git runs no hooks, only speaks the protocols of the address forms, and submodules
can't reach files of this machine (CVE-2022-39253).
"""

import os

from rootless.build.context.errors import BadChecksum, GitFailed, NoGit, NoSubdirectory, WrongCommit
from rootless.kernel import files, process

_SAID = 4096
_HEX = frozenset("0123456789abcdef")
_QUIET = (
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("protocol.git.allow", "always"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "true"),
    ("core.autocrlf", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("submodule.recurse", "false"),
    ("advice.detachedHead", "false"),
    ("init.defaultBranch", "main"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("http.lowSpeedLimit", "100"),
    ("http.lowSpeedTime", "60"),
)
_EVERYTHING = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")


class Checkout:
    """The files of a commit: ``path`` of the directory, ``descriptor``, ``commit`` (hex);
    ``close`` removes them."""

    def __init__(self, outside, where, keep_git_dir=False, checksum=None):
        self.where = where
        self.outside = outside
        self.program = outside.program("git")
        if self.program is None:
            raise NoGit(where.shown)
        self.descriptor = -1
        self.work = outside.store.tmp.make("git")
        try:
            self._fetch(checksum or where.checksum)
            keep = keep_git_dir if where.keep_git_dir is None else where.keep_git_dir
            self._tidy(keep)
            self._enter(where.subdir or "")
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.descriptor != -1:
            os.close(self.descriptor)
            self.descriptor = -1
        self.work.remove()

    # --- git ---

    def _fetch(self, checksum):
        if checksum is not None and not (4 <= len(checksum) <= 64 and _HEX.issuperset(checksum)):
            raise BadChecksum(checksum)
        os.mkdir("tree", 0o700, dir_fd=self.work.descriptor)
        self.top = f"{self.work.path}/tree"
        self._git("prepare", "init", "--quiet", "--template=", ".")
        # Without the password: .git may be kept, and end in an image.
        self._git("prepare", "config", "remote.origin.url", self.where.public)
        commit = self._fetch_ref(self.where.ref or "HEAD")
        if checksum is not None and not commit.startswith(checksum):
            raise WrongCommit(url=self.where.shown, found=commit, wanted=checksum)
        self.commit = commit
        self._git("check out", "checkout", "--quiet", "--force", "--detach", commit, "--")
        if self.where.submodules is not False and os.path.lexists(f"{self.top}/.gitmodules"):
            self._git(
                "get the submodules of", "submodule", "--quiet", "update", "--init",
                "--recursive", "--force", "--depth=1", submodules=True,
            )  # fmt: skip

    def _fetch_ref(self, ref):
        """Fetch one commit alone; everything, where the server doesn't give it that way."""
        fetch = ("fetch", "--quiet", "--no-tags", "--force", "--update-head-ok")
        try:
            self._git("fetch", *fetch, "--depth=1", "--", "origin", ref)
            return self._commit("FETCH_HEAD")
        except GitFailed as error:
            first = error
        # Servers refuse shallow fetches (dumb http) and commits that no ref names.
        try:
            self._git("fetch", *fetch, "--", "origin", *_EVERYTHING)
        except GitFailed:
            raise first from None
        for name in (ref, f"refs/remotes/origin/{ref}", f"refs/tags/{ref}",
                     ref.replace("refs/heads/", "refs/remotes/origin/", 1)):  # fmt: skip
            try:
                return self._commit(name)
            except GitFailed:
                continue
        raise first

    def _commit(self, name):
        text = self._git(
            "find the commit of", "rev-parse", "--verify", "--quiet", "--end-of-options",
            f"{name}^{{commit}}",
        )  # fmt: skip
        return text.strip()

    def _git(self, what, *words, submodules=False):
        """What git prints (str); GitFailed with what it says."""
        settings = [*_QUIET, *self.where.login]
        allowed = self.where.is_file and not submodules
        settings.append(("protocol.file.allow", "always" if allowed else "never"))
        environ = self.outside.environment()
        environ.update(GIT_TERMINAL_PROMPT="0", GIT_CONFIG_COUNT=str(len(settings)), LC_ALL="C")
        environ.setdefault("GIT_SSH_COMMAND", "ssh -o ConnectTimeout=30")
        for number, (key, value) in enumerate(settings):
            environ[f"GIT_CONFIG_KEY_{number}"] = key
            environ[f"GIT_CONFIG_VALUE_{number}"] = value
        printed = os.memfd_create("git-printed", os.MFD_CLOEXEC)
        said = os.memfd_create("git-said", os.MFD_CLOEXEC)
        try:
            argv = [self.program, "-C", self.top, *words]
            code = _run(argv, {1: printed, 2: said}, environ)
            if code:
                text = os.pread(said, _SAID, 0).decode("utf-8", "replace").strip()
                raise GitFailed(
                    what=what, url=self.where.shown, said=_line(text) or f"it ended with {code}"
                )
            return os.pread(printed, _SAID, 0).decode("ascii", "replace")
        finally:
            os.close(printed)
            os.close(said)

    # --- the files ---

    def _tidy(self, keep):
        """Remove what belongs to git, and give files the modes that git knows.

        Those they have depend on the umask of who builds; layers shall not.
        """
        from rootless.kernel import tree

        waiting = [b""]
        top = os.open(self.top, files.DIRECTORY)
        try:
            while waiting:
                path = waiting.pop()
                here = files.open_beneath(top, path)
                try:
                    for entry in os.scandir(here):
                        name = os.fsencode(entry.name)
                        if name == b".git":
                            if not keep:
                                tree.remove_tree(here, name)
                        elif entry.is_dir(follow_symlinks=False):
                            os.chmod(name, 0o755, dir_fd=here)
                            waiting.append(path + b"/" + name if path else name)
                        elif entry.is_file(follow_symlinks=False):
                            mode = entry.stat(follow_symlinks=False).st_mode
                            os.chmod(name, 0o755 if mode & 0o100 else 0o644, dir_fd=here)
                finally:
                    os.close(here)
        finally:
            os.close(top)

    def _enter(self, subdir):
        """Open the directory that is asked for; no part of its path may be a link or ``..``."""
        parts = [part for part in subdir.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise NoSubdirectory(subdir, self.where.shown, "it leads upwards")
        top = os.open(self.top, files.DIRECTORY)
        try:
            self.descriptor = files.open_beneath(top, "/".join(parts))
        except OSError as error:
            raise NoSubdirectory(subdir, self.where.shown, error.strerror) from None
        finally:
            os.close(top)
        self.path = "/".join([self.top, *parts])


def _run(argv, descriptors, environ):
    """The exit code of a program; it is ended if we are."""
    pid = process.spawn(argv, descriptors, environ)
    try:
        return process.wait_exit(pid)
    except BaseException:
        try:
            os.kill(pid, 15)
            process.wait_exit(pid)
        except OSError:
            pass
        raise


def _line(text):
    """The telling line of what git said, printable."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
    found = (telling or lines or [""])[0]
    return "".join(letter if letter.isprintable() else "?" for letter in found)[:500]
