"""Why a user namespace, or the full range of ids in it, can't be had."""

import errno

from rootless.engine.checks import Finding

ENOUGH = 65536
_CAP_SETGID, _CAP_SETUID = 1 << 6, 1 << 7
_NO_FULL = "containers run with one id (root inside is you); most programs don't notice"


def check(facts):
    """All findings about the id ladder, most serious first."""
    if facts.userns is not None:
        return list(_no_namespace(facts))
    found = list(_apparmor_warning(facts))
    if facts.uid == 0 and facts.best("ids") == "range":
        return found
    found += _subordinate(facts, "uid", facts.subuid)
    found += _subordinate(facts, "gid", facts.subgid)
    for name in ("newuidmap", "newgidmap"):
        found += _helper(facts, name)
    found += _gaining(facts)
    return found


# -- no namespace at all -------------------------------------------------------------------


def _no_namespace(facts):
    """Which of the switches that forbid user namespaces is set."""
    tried = f"unshare(CLONE_NEWUSER): {errno.errorcode.get(facts.userns, facts.userns)}"
    named = False
    for check_one in (_clone_sysctl, _max_sysctl, _apparmor, _chroot, _filtered):
        for finding in check_one(facts, tried):
            named = True
            yield finding
    if not named:
        yield Finding(
            "userns-refused",
            "ids",
            "fatal",
            "the kernel refuses to make a user namespace, and none of the known switches says why",
            [tried, f"kernel {facts.kernel}"],
            root="check that the kernel has CONFIG_USER_NS, and what its security module logs: "
            "dmesg | tail",
        )


def _clone_sysctl(facts, tried):
    if facts.sysctl("kernel/unprivileged_userns_clone") == 0:
        yield Finding(
            "userns-clone-off",
            "ids",
            "fatal",
            "this machine keeps user namespaces from users who aren't root",
            ["kernel.unprivileged_userns_clone = 0", tried],
            root="sysctl -w kernel.unprivileged_userns_clone=1",
        )


def _max_sysctl(facts, tried):
    limit = facts.sysctl("user/max_user_namespaces")
    if limit is not None and (limit == 0 or facts.userns == errno.ENOSPC):
        cause = (
            "this machine allows no user namespaces"
            if limit == 0
            else "the limit of user namespaces is used up, or they are nested too deeply"
        )
        yield Finding(
            "userns-limit",
            "ids",
            "fatal",
            cause,
            [f"user.max_user_namespaces = {limit}", tried],
            root="sysctl -w user.max_user_namespaces=65536",
            user=None if limit == 0 else "end containers or browsers that hold namespaces: lsns",
        )


def _apparmor(facts, tried):
    if facts.sysctl("kernel/apparmor_restrict_unprivileged_userns") == 1:
        yield Finding(
            "userns-apparmor",
            "ids",
            "fatal",
            "AppArmor gives user namespaces only to programs it has a profile for",
            ["kernel.apparmor_restrict_unprivileged_userns = 1", tried],
            root="sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        )


def _apparmor_warning(facts):
    """The switch is on and yet it works: said only where a rung is lost nevertheless."""
    if facts.sysctl("kernel/apparmor_restrict_unprivileged_userns") == 1:
        reason = facts.reason("ids", "range") or facts.reason("layer", "overlay")
        if reason:
            yield Finding(
                "userns-apparmor-powerless",
                "ids",
                "missing",
                "AppArmor lets user namespaces be made, but without the capabilities in them",
                ["kernel.apparmor_restrict_unprivileged_userns = 1", reason],
                root="sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            )


def _chroot(facts, tried):
    if not facts.single_root and facts.userns == errno.EPERM:
        yield Finding(
            "userns-chroot",
            "ids",
            "fatal",
            "rl was started in a chroot, from which the kernel makes no user namespaces",
            ["no mount at / in /proc/self/mountinfo", tried],
            root="enter the directory with a mount of its own: unshare --mount, then pivot_root "
            "or systemd-nspawn, in place of chroot",
        )


def _filtered(facts, tried):
    if facts.seccomp == 2 and facts.userns in (errno.EPERM, errno.ENOSYS):
        where = f"inside a container ({facts.container})" if facts.container else "in a sandbox"
        yield Finding(
            "userns-seccomp",
            "ids",
            "fatal",
            f"rl runs {where} whose system call filter forbids new namespaces",
            ["Seccomp: 2 in /proc/self/status", tried],
            root="start the outer container with --security-opt seccomp=unconfined "
            "(Kubernetes: seccompProfile.type: Unconfined)",
        )


# -- one id instead of the range -----------------------------------------------------------


def parse_ranges(lines):
    """[(line number, owner, start, count)] of a subuid file, and the numbers of bad lines."""
    rows, bad = [], []
    for number, line in lines or ():
        words = line.split(":")
        if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
            rows.append((number, words[0], int(words[1]), int(words[2])))
        else:
            bad.append(number)
    return rows, bad


def _subordinate(facts, kind, lines):
    """What is wrong with the user's ranges in /etc/sub``kind``."""
    path, user = f"/etc/sub{kind}", facts.user or str(facts.uid)
    rows, bad = parse_ranges(lines)
    own = [row for row in rows if row[1] in (user, str(facts.uid)) and row[3] > 0]
    option = "--add-subuids" if kind == "uid" else "--add-subgids"
    start = free_start(rows)
    add = f"usermod {option} {start}-{start + ENOUGH - 1} {user}"
    if not own:
        yield _no_range(facts, path, user, lines, bad, add)
        return
    count = sum(row[3] for row in own)
    if count < ENOUGH:
        yield Finding(
            f"sub{kind}-short",
            "ids",
            "warn",
            f"only {count + 1} {kind}s are there for containers; images expect {ENOUGH}",
            [f"{path}:{row[0]}: {row[1]}:{row[2]}:{row[3]}" for row in own],
            root=add,
            user="images whose files have higher ids can't be unpacked with all their owners",
        )
    for row in own:
        other = _overlap(row, rows, own)
        if other:
            yield Finding(
                f"sub{kind}-shared",
                "ids",
                "warn",
                f"{user} shares {kind}s with {other[1]}: each reaches into the other's containers",
                [f"{path}:{row[0]}: {row[1]}:{row[2]}:{row[3]}",
                 f"{path}:{other[0]}: {other[1]}:{other[2]}:{other[3]}"],
                root=f"edit {path} so that no two lines overlap, then rl system reset as "
                "the user whose range has moved",
            )
            break
    yield from _outside(facts, kind, path, own)


def _no_range(facts, path, user, lines, bad, add):
    evidence = f"{path}: does not exist" if lines is None else f"{path}: no line for {user}"
    if not facts.user:
        evidence += f", and uid {facts.uid} has no name"
    evidence = [evidence, *(f"{path}:{number}: not NAME:START:COUNT" for number in bad)]
    if facts.subid_source and facts.subid_source != "files":
        evidence.append(f"/etc/nsswitch.conf: subid: {facts.subid_source} (rl reads only files)")
    return Finding(
        "no-" + path.rpartition("/")[2],
        "ids",
        "missing",
        f"{user} has no ids for containers in {path}",
        evidence,
        root=add,
        user=_NO_FULL,
    )


def free_start(rows):
    """Where a new range can begin: after all that are given away, at 100000 or above."""
    return max([100000, *(start + count for _, _, start, count in rows if start < 1 << 31)])


def _overlap(row, rows, own):
    for other in rows:
        if other in own or not other[3]:
            continue
        if row[2] < other[2] + other[3] and other[2] < row[2] + row[3]:
            return other
    return None


def _outside(facts, kind, path, own):
    """Nested: a range is of no use if the namespace rl runs in doesn't have these ids."""
    if not facts.nested:
        return
    for number, owner, start, count in own:
        if any(i <= start and start + count <= i + n for i, _, n in facts.uid_map):
            continue
        yield Finding(
            f"sub{kind}-unmapped",
            "ids",
            "missing",
            f"the ids that {path} gives {owner} don't exist in the container that rl runs in",
            [f"{path}:{number}: {owner}:{start}:{count}",
             "/proc/self/uid_map: " + ", ".join(" ".join(map(str, m)) for m in facts.uid_map)],
            root=f"give a range that lies within them, in {path}",
            user=_NO_FULL,
        )
        return


def _helper(facts, name):
    """Whether newuidmap or newgidmap is there and still has its privilege."""
    found = facts.programs.get(name)
    if found is None:
        yield Finding(
            f"no-{name}",
            "ids",
            "missing",
            f"{name}, which maps the ids, is not installed",
            f"{name}: not found on PATH",
            root="apt-get install uidmap  (dnf install shadow-utils, apk add shadow-uidmap)",
            user=_NO_FULL,
        )
        return
    path, mode = found["path"], found["mode"]
    setuid = mode & 0o4000 and found["uid"] == 0
    if not setuid and not found["caps"]:
        cap = "cap_setuid" if name == "newuidmap" else "cap_setgid"
        yield Finding(
            f"{name}-powerless",
            "ids",
            "missing",
            f"{path} has lost its privilege (packing and copying images of systems does that)",
            f"{path}: mode {mode:04o}, owner {found['uid']}, no file capabilities",
            root=f"setcap {cap}+ep {path}",
            user=_NO_FULL,
        )
    elif "nosuid" in found["mount"]:
        yield Finding(
            f"{name}-nosuid",
            "ids",
            "missing",
            f"{path} is on a file system mounted nosuid, so it gets no privilege",
            f"{path}: mount options {','.join(found['mount'])}",
            root=f"mount -o remount,suid the file system of {path}",
            user=_NO_FULL,
        )


def _gaining(facts):
    """What keeps every set-uid program from gaining anything."""
    if facts.no_new_privs:
        yield Finding(
            "no-new-privs",
            "ids",
            "missing",
            "no_new_privs is set here, so newuidmap can't gain the right to map ids",
            "NoNewPrivs: 1 in /proc/self/status",
            root="start the CI runner, container or service without it (docker: no "
            "--security-opt no-new-privileges; Kubernetes: allowPrivilegeEscalation: true; "
            "systemd: NoNewPrivileges=no)",
            user=_NO_FULL,
        )
    lost = [
        name
        for name, bit in (("CAP_SETUID", _CAP_SETUID), ("CAP_SETGID", _CAP_SETGID))
        if not facts.bounding & bit
    ]
    if lost:
        yield Finding(
            "bounding-set",
            "ids",
            "missing",
            f"{' and '.join(lost)} can't be had by any program here, newuidmap included",
            f"CapBnd: {facts.bounding:016x} in /proc/self/status",
            root="start the outer container with --cap-add SETUID --cap-add SETGID",
            user=_NO_FULL,
        )
