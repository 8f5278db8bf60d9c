"""Limits on resources, the login session, and the parts that rl itself is made of."""

import os

from rootless.engine.checks import Finding

WANTED = ("cpu", "memory", "pids", "io", "cpuset")


def check(facts):
    """All findings about the runtime directory, limits, the session and security."""
    found = list(_runtime(facts))
    found += _cgroups(facts)
    found += _session(facts)
    found += _limits(facts)
    found += _own_parts(facts)
    return found


def _runtime(facts):
    runtime = facts.runtime
    if runtime["error"]:
        yield Finding(
            "runtime-not-ours",
            "runtime directory",
            "fatal",
            "a runtime directory that isn't ours: somebody else made or opened it first",
            runtime["error"],
            root=f"rm -rf /tmp/rl-{facts.uid}",
            user="mkdir -m 700 -p ~/.cache/rl-run && export RL_RUNROOT=~/.cache/rl-run",
        )
        return
    if runtime["rung"] != "/tmp":
        return
    evidence = [
        f"{rung}: {path + ' ' if path else ''}{problem}"
        for rung, path, problem in runtime["tries"]
        if problem
    ]
    foreign = any(problem and "belongs to uid" in problem for _, _, problem in runtime["tries"])
    yield Finding(
        "runtime-tmp",
        "runtime directory",
        "missing",
        "XDG_RUNTIME_DIR is another user's (su and sudo leave it behind)"
        if foreign
        else "this login has no session that made a runtime directory",
        evidence,
        root=f"loginctl enable-linger {facts.user or facts.uid}" if facts.session["systemd"] else
        f"install -d -m 700 -o {facts.uid} /run/user/{facts.uid}",
        user=f"log in over ssh or at a console in place of su; {runtime['path']} serves until then",
    )


def _cgroups(facts):
    """Why limits can't be set: that they hold is up to the kernel, who may set them to others."""
    group = facts.cgroup
    mode = group["mode"]
    own = f"own group: {group['own']}" if group["own"] else "no own group in /proc/self/cgroup"
    if mode in ("legacy", "hybrid"):
        yield Finding(
            "cgroup-v1",
            "limits",
            "missing",
            "the controllers are in cgroup v1, which gives users no part of it",
            f"/sys/fs/cgroup is {mode}",
            root="boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
            user="--ulimit works without control groups",
        )
        return
    if mode == "none":
        yield Finding(
            "cgroup-absent",
            "limits",
            "missing",
            "no control groups are mounted",
            "/sys/fs/cgroup has no cgroup.controllers",
            root="mount -t cgroup2 none /sys/fs/cgroup",
            user="--ulimit works without control groups",
        )
        return
    session = facts.session
    if group["kind"] == "none":
        yield Finding(
            "cgroup-not-delegated",
            "limits",
            "missing",
            "no limit can be set: " + (
                group["why"] or "no user manager of systemd answers, and no group was given to you"
            ),
            own,
            root=f"loginctl enable-linger {facts.user or facts.uid}"
            if session["systemd"]
            else f"chown {facts.uid} the group that this shell runs in, below /sys/fs/cgroup, and "
            "its cgroup.procs and cgroup.subtree_control",
            user="log in over ssh or at a console; --ulimit works without control groups",
        )
        return
    if group["kind"] == "systemd" and session["trouble"]:
        yield Finding(
            "bus-silent",
            "limits",
            "missing",
            "systemd does not answer on its bus, so no limit can be set",
            session["trouble"],
            root=f"systemctl restart user@{facts.uid}.service, which ends what the user runs"
            if facts.uid
            else "systemctl daemon-reexec",
            user="systemctl --user status shows whether it is at work; log out and in again",
        )
        return
    yield from _controllers(group, own)


def _controllers(group, own):
    lost = [name for name in WANTED if name not in group["delegated"]]
    if lost:
        given = group["kind"] == "delegated"  # by whoever made this session
        above = os.path.dirname(f"/sys/fs/cgroup{group['own'] or ''}")
        yield Finding(
            "cgroup-controllers",
            "limits",
            "missing",
            f"limits on {', '.join(lost)} can't be set: these controllers aren't handed to users",
            [f"delegated: {' '.join(group['delegated']) or 'nothing'}", own],
            root=f"echo '{' '.join(f'+{name}' for name in lost)}' >{above}/cgroup.subtree_control"
            if given
            else "mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu "
            "cpuset io memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf && "
            "systemctl daemon-reload",
            user="the other limits work"
            if given
            else "log out and in again after that; the other limits work",
        )


def _session(facts):
    if facts.session["systemd"] and not facts.session["linger"] and facts.uid != 0:
        yield Finding(
            "no-linger",
            "session",
            "warn",
            "your containers end when you log out, if systemd is set to end what users leave",
            f"/var/lib/systemd/linger/{facts.user or facts.uid}: does not exist",
            root=f"loginctl enable-linger {facts.user or facts.uid}",
            user="loginctl enable-linger  (many machines let users do that)",
        )
    if facts.clock_behind:
        days = int(facts.clock_behind // 86400)
        yield Finding(
            "clock",
            "session",
            "warn",
            "the clock is behind: registries' certificates will look as if not yet valid",
            f"rl was installed {days} days after what the clock says now",
            root="timedatectl set-ntp true  (or: date -s …)",
        )


def _limits(facts):
    if 0 <= facts.nofile < 4096:
        yield Finding(
            "nofile",
            "session",
            "warn",
            f"a process here may have {facts.nofile} files open, and so may one in a container",
            f"hard RLIMIT_NOFILE = {facts.nofile}",
            root=f"echo '{facts.user or facts.uid} hard nofile 524288' "
            ">>/etc/security/limits.d/rl.conf",
        )
    if 0 <= facts.nproc < 1024:
        yield Finding(
            "nproc",
            "session",
            "warn",
            f"you may have {facts.nproc} processes, those in containers included",
            f"hard RLIMIT_NPROC = {facts.nproc}",
            root=f"echo '{facts.user or facts.uid} hard nproc 65536' "
            ">>/etc/security/limits.d/rl.conf",
        )


def _own_parts(facts):
    if facts.helpers:
        yield Finding(
            "helpers",
            "security",
            "fatal",
            "rl's own helper programs are not where they were installed",
            [f"missing: {name}" for name in facts.helpers],
            user="install rl again: pipx reinstall rl; in a checkout: make -C helpers",
        )
    if not facts.seccomp_library:
        yield Finding(
            "libseccomp",
            "confinement",
            "fatal",
            "libseccomp, which writes the containers' system call filters, can't be used",
            facts.reason("confinement", "seccomp") or "libseccomp.so.2: cannot be loaded",
            root="apt-get install libseccomp2",
            user="if a Python module is missing, install rl again: pipx reinstall rl; "
            "--security-opt seccomp=unconfined runs a container without a filter",
        )
    if facts.container and facts.nested:
        yield Finding(
            "nested",
            "security",
            "warn",
            "rl runs inside a container: what that one hides or forbids, its own can't have",
            [str(facts.container), "/proc/self/uid_map maps "
             f"{sum(row[2] for row in facts.uid_map)} ids"],
        )
