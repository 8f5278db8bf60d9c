"""The part of the build that pyproject.toml cannot say: C programs, pages, completions.

Every ``helpers/NAME.c`` is one static program.  ``rl`` goes into the wheel's scripts, so
that every installer puts it into ``bin`` with its mode; the others go into
``rootless/_helpers``.  A C compiler with a static C library is all this needs.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from glob import glob

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

# setuptools brings this package with it since Python has none (3.12): after setuptools.
from distutils.command.build_scripts import build_scripts  # isort: skip
from distutils.command.install_data import install_data  # isort: skip

COMPILERS = ("cc", "gcc", "clang")
LAUNCHER = "helpers/rl.c"
# Where the pages and completions that man/build.py makes are looked for.
SHARED = {
    "man": "share/man/man1",
    "completions/bash": "share/bash-completion/completions",
    "completions/zsh": "share/zsh/site-functions",
    "completions/fish": "share/fish/vendor_completions.d",
}


def compiler():
    """The C compiler as a list of words; ends the build if there is none."""
    words = shlex.split(os.environ.get("CC", ""))
    if words:
        return words
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    sys.exit("rl: building needs a C compiler: apt-get install gcc libc6-dev")


def flags(source):
    """The flags of every helper, then those that the head of this one asks for."""
    with open("helpers/cflags", encoding="utf-8") as file:
        words = file.read().split()
    words += shlex.split(os.environ.get("CFLAGS", ""))
    with open(source, encoding="utf-8") as file:
        head = "".join(file.readline() for _ in range(20))
    own = re.search(r"/\* cflags: (.*) \*/", head)
    return words + shlex.split(own[1]) if own else words


def links_statically(words):
    """Whether the compiler finds a static C library, as bool."""
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "empty.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write("#include <stdio.h>\nint main(void) { return 0; }\n")
        program = os.path.join(directory, "empty")
        done = subprocess.run(
            [*words, "-static", "-o", program, source], capture_output=True, check=False
        )
        return done.returncode == 0


def compile_program(source, target):
    """Compile one C file to one static program; ends the build if that fails."""
    words = compiler()
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        done = subprocess.run([*words, *flags(source), "-o", target, source], check=False)
    except OSError as error:
        sys.exit(f"rl: cannot run the C compiler {words[0]}: {error.strerror}")
    if done.returncode == 0:
        return
    if not links_statically(words):
        sys.exit(
            "rl: building needs the static C library: apt-get install libc6-dev "
            "(glibc-static on Fedora, musl-dev on Alpine)"
        )
    sys.exit(f"rl: {source} does not compile, see above")


class BuildPy(build_py):
    """The modules, and beside them the helper programs and the packaged configuration."""

    def run(self):
        compiler()
        # setuptools never removes a module that has gone from the tree.
        shutil.rmtree(os.path.join(self.build_lib, "rootless"), ignore_errors=True)
        super().run()
        package = os.path.join(self.build_lib, "rootless")
        for source in sorted(glob("helpers/*.c")):
            if source != LAUNCHER:
                name = os.path.basename(source)[:-2]
                compile_program(source, os.path.join(package, "_helpers", name))
        os.makedirs(os.path.join(package, "_conf"), exist_ok=True)
        for path in sorted(glob("conf/*")):
            shutil.copy(path, os.path.join(package, "_conf"))


class BuildScripts(build_scripts):
    """The launcher, compiled where setuptools expects a script of Python."""

    def run(self):
        compile_program(LAUNCHER, os.path.join(self.build_dir, "rl"))

    def get_outputs(self):
        return [os.path.join(self.build_dir, "rl")]


class InstallData(install_data):
    """The manual pages and completions, made from the option table by man/build.py."""

    def run(self):
        made = os.path.join(self.get_finalized_command("build").build_base, "share")
        shutil.rmtree(made, ignore_errors=True)
        words = [f"{made}/man", f"{made}/completions"]
        done = subprocess.run([sys.executable, "-B", "man/build.py", *words], check=False)
        if done.returncode != 0:
            sys.exit("rl: the manual pages can't be made, see above")
        self.data_files = [
            (target, sorted(glob(f"{made}/{source}/*"))) for source, target in SHARED.items()
        ]
        super().run()


class Platform(Distribution):
    """A distribution that belongs to one kind of machine though no module is compiled, and
    that has data files though they exist only while it is built."""

    def has_ext_modules(self):
        return True

    def has_data_files(self):
        return True


class Wheel(bdist_wheel):
    """A wheel for every Python 3 of this platform: the helpers are programs, not modules."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    distclass=Platform,
    scripts=[LAUNCHER],
    data_files=[],
    cmdclass={
        "bdist_wheel": Wheel,
        "build_py": BuildPy,
        "build_scripts": BuildScripts,
        "install_data": InstallData,
    },
)
