"""elf:PATH and hello: images of programs of this machine."""

import os
import subprocess

import pytest

from support import tools

pytestmark = pytest.mark.integration
RUN = ("run", "--rm", "--network", "none")


def compile_c(target, text, *words):
    """Compile a C program or library."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    source = f"{target}.c"
    with open(source, "w") as file:
        file.write(text)
    tools.run(tools.find("cc"), "-o", target, source, *words)
    os.unlink(source)
    return target


def library(path, name, answer, *words):
    """A shared library with ``int NAME(void)`` that gives ``answer``."""
    return compile_c(path, f"int {name}(void) {{ return {answer}; }}\n", "-shared", "-fPIC",
                     f"-Wl,-soname,{os.path.basename(path)}", *words)  # fmt: skip


def program(path, call, *words):
    """A program that ends with what the function ``call`` gives."""
    return compile_c(path, f"int {call}(void);\nint main(void) {{ return {call}(); }}\n", *words)


def image_id(rl, path):
    """The id of the image of a program."""
    return rl.ok("pull", "-q", f"elf:{path}").text


# --- what it is for ------------------------------------------------------------------------


def test_env(rl):
    done = rl.ok(*RUN, "elf:/usr/bin/env", "A=1")
    assert "A=1" in done.lines and "container=rl" in done.lines


def test_bash(rl):
    script = 'echo hi; read x </etc/passwd; echo $x; cd /tmp && echo >f && echo ok; echo "$0"'
    done = rl.ok(*RUN, "elf:/bin/bash", "-c", script)
    assert done.lines == ["hi", "root:x:0:0:root:/root:/bin/sh", "ok", "/bin/bash"]


def test_users_that_every_program_knows(rl):
    assert rl.ok(*RUN, "elf:/usr/bin/id").text == "uid=0(root) gid=0(root) groups=0(root)"
    done = rl.ok(*RUN, "--user", "nobody", "elf:/usr/bin/id", "-un")
    assert done.text == "nobody"


def test_hello(rl):
    assert "Hello" in rl.ok("run", "--rm", "hello").stdout
    rl.ok("run", "--rm", "--pull", "never", "hello")
    (row,) = rl.ok("images", "--format", "{{.Repository}}:{{.Tag}}").lines
    assert row == "localhost/hello:latest"


def test_an_image_of_ones_own_called_hello(rl, busybox):
    rl.ok("tag", busybox, "hello")
    assert rl.ok(*RUN, "hello", "echo", "mine").text == "mine"


def test_the_name_and_what_is_shown(rl):
    image = image_id(rl, "/usr/bin/env")
    found = rl.ok("image", "inspect", image).json()[0]
    assert found["RepoTags"] == ["localhost/elf/usr/bin/env:latest"]
    assert found["Config"] == {"Entrypoint": ["/usr/bin/env"], "WorkingDir": "/"}
    assert found["History"][0]["created_by"] == "elf:/usr/bin/env"
    assert rl.ok(*RUN, "localhost/elf/usr/bin/env", "B=2").lines[-1] == "B=2"


# --- once, and again when something changed ------------------------------------------------


def test_the_same_program_gives_the_same_image(rl, workdir):
    first = image_id(rl, "/bin/bash")
    rl.ok("rmi", "-f", first)
    rl.environment["XDG_DATA_HOME"] = f"{workdir}/elsewhere"
    assert image_id(rl, "/bin/bash") == first


def test_it_is_made_once(rl, workdir):
    path = program(f"{workdir}/p", "abs", "-fno-builtin")
    assert rl(*RUN, f"elf:{path}").code is not None
    ref = f"{rl.root}/refs"
    before = {name: os.stat(f"{ref}/{name}").st_ino for name in os.listdir(ref)}
    rl(*RUN, f"elf:{path}")
    assert {name: os.stat(f"{ref}/{name}").st_ino for name in os.listdir(ref)} == before


def test_changes_are_seen(rl, workdir):
    library(f"{workdir}/libone.so", "one", 1)
    path = program(f"{workdir}/p", "one", f"-L{workdir}", "-l:libone.so", "-Wl,-rpath,$ORIGIN")
    rl_code(rl, path, 1)
    library(f"{workdir}/libone.so", "one", 11)
    rl_code(rl, path, 11)
    os.rename(f"{workdir}/libone.so", f"{workdir}/libreal.so")
    os.symlink("libreal.so", f"{workdir}/libone.so")
    rl_code(rl, path, 11)
    os.unlink(f"{workdir}/libone.so")
    rl.fails("run", f"elf:{path}", says="needs the library libone.so")


def rl_code(rl, path, code):
    """Run the image of a program and expect its exit code, here and there."""
    assert subprocess.run([path], check=False).returncode == code
    result = rl(*RUN, f"elf:{path}")
    assert result.code == code, repr(result)


# --- how libraries are found ---------------------------------------------------------------


@pytest.mark.parametrize("tags", ["--enable-new-dtags", "--disable-new-dtags"])
@pytest.mark.parametrize(
    "rpath", ["$ORIGIN/../lib", "${ORIGIN}/../lib", "ABSOLUTE", "/no:ABSOLUTE"]
)
def test_rpath_and_runpath(rl, workdir, tags, rpath):
    library(f"{workdir}/app/lib/libone.so", "one", 21)
    rpath = rpath.replace("ABSOLUTE", f"{workdir}/app/lib")
    path = program(f"{workdir}/app/bin/p", "one", f"-L{workdir}/app/lib", "-l:libone.so",
                   f"-Wl,{tags}", f"-Wl,-rpath,{rpath}")  # fmt: skip
    rl_code(rl, path, 21)


def chain(workdir, tags):
    """A program → libone → libtwo, where only the program says where they are."""
    library(f"{workdir}/deep/libtwo.so", "two", 22)
    text = "int two(void);\nint one(void) { return two() + 1; }\n"
    compile_c(f"{workdir}/lib/libone.so", text, "-shared", "-fPIC", f"-L{workdir}/deep",
              "-l:libtwo.so", "-Wl,-soname,libone.so")  # fmt: skip
    return program(f"{workdir}/p", "one", f"-L{workdir}/lib", "-l:libone.so", f"-Wl,{tags}",
                   f"-Wl,-rpath,{workdir}/lib:{workdir}/deep",
                   f"-Wl,-rpath-link,{workdir}/deep")  # fmt: skip


def test_rpath_counts_for_what_is_loaded(rl, workdir):
    rl_code(rl, chain(workdir, "--disable-new-dtags"), 23)


def test_runpath_does_not(rl, workdir):
    path = chain(workdir, "--enable-new-dtags")
    assert subprocess.run([path], check=False, capture_output=True).returncode == 127
    rl.fails("run", f"elf:{path}", says="libone.so needs the library libtwo.so")


def test_links_are_kept(rl, workdir):
    library(f"{workdir}/lib/libone.so.1.2", "one", 31, "-Wl,-soname,libone.so.1")
    os.symlink("libone.so.1.2", f"{workdir}/lib/libone.so.1")
    os.symlink("lib", f"{workdir}/alias")
    path = program(f"{workdir}/real", "one", f"-L{workdir}/lib", "-l:libone.so.1.2",
                   f"-Wl,-rpath,{workdir}/alias")  # fmt: skip
    os.symlink("real", f"{workdir}/first")
    os.symlink(f"{workdir}/first", f"{workdir}/second")
    rl_code(rl, f"{workdir}/second", 31)
    del path


def test_a_program_in_a_strange_place(rl, workdir):
    os.mkdir(f"{workdir}/My Programs")
    path = compile_c(f"{workdir}/My Programs/Über [x]", "int main(void) { return 41; }\n")
    rl_code(rl, path, 41)
    result = rl(*RUN, "elf:./My Programs/Über [x]", cwd=workdir)
    assert result.code == 41, repr(result)


def test_static_programs(rl, workdir):
    path = compile_c(f"{workdir}/p", "int main(void) { return 42; }\n", "-static")
    rl_code(rl, path, 42)
    path = compile_c(f"{workdir}/q", "int main(void) { return 43; }\n", "-static-pie")
    rl_code(rl, path, 43)


# --- scripts -------------------------------------------------------------------------------


def script(workdir, text, mode=0o755):
    path = f"{workdir}/script"
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def test_a_script(rl, workdir):
    path = script(workdir, "#!/bin/sh\nexit 51\n")
    rl_code(rl, path, 51)


@pytest.mark.parametrize("line", ["/usr/bin/env bash", "/usr/bin/env -S bash -e"])
def test_a_script_by_env(rl, workdir, line):
    path = script(workdir, f"#!{line}\n[[ a == a ]] && exit 52\n")
    rl_code(rl, path, 52)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#!/nothing/here\n", "/nothing/here: no such file"),
        ("#!relative\n", "without the path"),
        ("#!/usr/bin/env nothing-here\n", "nothing-here"),
        ("just text\n", "neither an ELF program nor a script"),
        ("", "neither an ELF program nor a script"),
    ],
)
def test_bad_scripts(rl, workdir, text, says):
    rl.fails("run", f"elf:{script(workdir, text)}", says=says)


def test_what_is_no_program(rl, workdir):
    rl.fails("run", "elf:/nothing", says="no such file")
    rl.fails("run", f"elf:{workdir}", says="is not a file")
    rl.fails("run", f"elf:{script(workdir, 'x', 0o644)}", says="is not executable")
    os.unlink(f"{workdir}/script")
    own = script(workdir, f"#!{workdir}/script\n")
    rl.fails("run", f"elf:{own}", says="too deep")
    with open("/usr/bin/env", "rb") as file:
        data = file.read()
    for cut in (4, 60, 200, 4000):
        with open(f"{workdir}/cut", "wb") as file:
            file.write(data[:cut])
        os.chmod(f"{workdir}/cut", 0o755)
        rl.fails("run", f"elf:{workdir}/cut", says=f"{workdir}/cut", code=125, hint=False)
    assert rl.ok("images", "-aq").text == ""


def test_a_program_for_another_machine(rl, workdir):
    with open(compile_c(f"{workdir}/p", "int main(void) { return 0; }\n", "-static"), "rb") as file:
        data = bytearray(file.read())
    data[18:20] = (22).to_bytes(2, "little")  # e_machine: S390
    with open(f"{workdir}/foreign", "wb") as file:
        file.write(data)
    os.chmod(f"{workdir}/foreign", 0o755)
    rl.fails("run", f"elf:{workdir}/foreign", says="linux/s390x")
