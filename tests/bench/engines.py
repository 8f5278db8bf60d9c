"""The engines side by side, each with a home of its own on the same file system."""

import os
import signal
import subprocess

import measure
from support import command, tools

BUS = "DBUS_SESSION_BUS_ADDRESS"


class Engine:
    """One engine: ``words`` start it, ``home`` holds all it keeps."""

    def __init__(self, name, words, home):
        self.name = name
        self.words = words
        self.home = home
        for part in ("home", "data", "config", "run", "tmp"):
            os.makedirs(f"{home}/{part}", mode=0o700, exist_ok=True)
        self.env = {
            "HOME": f"{home}/home",
            "XDG_DATA_HOME": f"{home}/data",
            "XDG_CONFIG_HOME": f"{home}/config",
            "XDG_RUNTIME_DIR": f"{home}/run",
            "TMPDIR": f"{home}/tmp",
            "PATH": tools.PATH,
            "LANG": "C.UTF-8",
        }
        if BUS in os.environ:  # each container then gets a scope of the user's systemd
            self.env[BUS] = os.environ[BUS]
            # podman's runtime gets no such variable from it: it looks in the runtime directory.
            os.symlink(os.environ[BUS].removeprefix("unix:path="), f"{home}/run/bus")

    def argv(self, *args):
        """The words of one call."""
        return [*self.words, *args]

    def time(self, *args):
        """Seconds that one call takes."""
        return measure.timed(self.argv(*args), self.env)

    def timer(self, *args):
        """A function that makes one call and gives its seconds."""
        return lambda: self.time(*args)

    def do(self, *args):
        """One call that isn't measured: its stdout."""
        return tools.run(*self.argv(*args), env=self.env)

    def containers(self):
        """The ids of all its containers."""
        return self.do("ps", "--all", "--quiet", "--no-trunc").split()

    def clear(self):
        """Remove all containers, in calls of a bearable length."""
        ids = self.containers()
        for at in range(0, len(ids), 200):
            self.do("rm", "--force", "--time", "0", *ids[at : at + 200])

    def close(self):
        """Leave nothing behind."""
        tools.remove_tree(self.home)


class Rl(Engine):
    """The rl that is installed beside this Python."""

    def __init__(self, home):
        super().__init__("rl", command.program(), home)

    def close(self):
        if os.path.isdir(f"{self.env['XDG_DATA_HOME']}/rl/containers"):
            leftovers = os.listdir(f"{self.env['XDG_DATA_HOME']}/rl/containers")
            if leftovers:
                self.clear()
        super().close()


class Podman(Engine):
    """Debian's podman, as Debian sets it up, its store on the kernel's overlayfs."""

    def __init__(self, home):
        super().__init__("podman", [tools.find("podman")], home)
        directory = f"{self.env['XDG_CONFIG_HOME']}/containers"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/storage.conf", "w", encoding="utf-8") as file:
            file.write(
                '[storage]\ndriver = "overlay"\n'
                f'graphroot = "{home}/data/containers/storage"\nrunroot = "{home}/run/storage"\n'
            )
        with open(f"{directory}/containers.conf", "w", encoding="utf-8") as file:
            manager = "systemd" if BUS in self.env else "cgroupfs"
            file.write(f'[engine]\ncgroup_manager = "{manager}"\nevents_logger = "file"\n')

    def close(self):
        self.clear()
        try:
            with open(f"{self.env['XDG_RUNTIME_DIR']}/libpod/tmp/pause.pid") as file:
                os.kill(int(file.read()), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass
        super().close()


class Bare:
    """crun and bwrap on a root file system that lies there unpacked: no engine at all, the
    floor that an engine stands on."""

    def __init__(self, directory, layer_tar):
        self.env = {"PATH": tools.PATH, "XDG_RUNTIME_DIR": f"{directory}/run"}
        self.directory = directory
        self.count = 0
        os.makedirs(f"{directory}/run", mode=0o700)
        os.makedirs(f"{directory}/rootfs")
        tools.run(tools.find("tar"), "-C", f"{directory}/rootfs", "-xf", layer_tar)
        subprocess.run(
            [tools.find("crun"), "spec", "--rootless"], cwd=directory, env=self.env, check=True
        )
        self._adapt(f"{directory}/config.json")

    def _adapt(self, path):
        import json

        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        spec["process"].update(terminal=False, args=["true"])
        with open(path, "w", encoding="utf-8") as file:
            json.dump(spec, file)

    def crun(self):
        """Seconds of ``crun run``."""
        self.count += 1
        words = [tools.find("crun"), "--cgroup-manager=disabled", "run", f"b{self.count}"]
        return measure.timed([*words[:-1], "--bundle", self.directory, words[-1]], self.env)

    def bwrap(self):
        """Seconds of ``bwrap`` with all namespaces."""
        words = [tools.find("bwrap"), "--unshare-all", "--bind", f"{self.directory}/rootfs", "/",
                 "--proc", "/proc", "--dev", "/dev", "true"]  # fmt: skip
        return measure.timed(words, self.env)
