"""Seccomp profiles: read, resolved for this machine and container, compiled.

A profile is either docker's format (``archMap``, ``includes``, ``excludes``; what
``--security-opt seccomp=FILE`` takes and what ``conf/seccomp.json`` is) or ``linux.seccomp``
of the OCI runtime specification.  ``resolve_profile`` turns the first into the second,
``compile`` the second into a BPF program, through libseccomp.
"""

import os

from rootless import conf_path
from rootless.errors import RlError
from rootless.kernel import caps as kernel_caps
from rootless.kernel import seccomp as kernel
from rootless.model import jsontext

LARGEST_PROFILE = 1 << 20

# Permissiveness as the kernel orders it (seccomp(2)): the lowest of several actions wins.
_RANK = {
    "SCMP_ACT_KILL_PROCESS": 0,
    "SCMP_ACT_KILL": 1,
    "SCMP_ACT_KILL_THREAD": 1,
    "SCMP_ACT_TRAP": 2,
    "SCMP_ACT_ERRNO": 3,
    "SCMP_ACT_TRACE": 4,
    "SCMP_ACT_LOG": 5,
    "SCMP_ACT_ALLOW": 6,
}
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": kernel.FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": kernel.FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": kernel.FLAG_SPEC_ALLOW,
}
# uname(2) → (libseccomp's name, the name in docker's ``arches``)
_MACHINES = {
    "x86_64": ("X86_64", "amd64"),
    "i686": ("X86", "x86"),
    "aarch64": ("AARCH64", "arm64"),
    "armv7l": ("ARM", "arm"),
    "ppc64le": ("PPC64LE", "ppc64le"),
    "riscv64": ("RISCV64", "riscv64"),
    "s390x": ("S390X", "s390x"),
    "mips64": ("MIPS64", "mips64"),
}


class BadProfile(RlError):
    """the seccomp profile {0} cannot be used: {1}"""

    hint = "it has the format of docker and podman; --security-opt seccomp=unconfined does without"


class NoLibrary(RlError):
    """the library libseccomp, which compiles system call filters, cannot be used: {0}"""

    hint = (
        "install it: apt-get install libseccomp2 (Debian, Ubuntu), dnf install libseccomp; without"
        " a filter: --security-opt seccomp=unconfined"
    )


def read_profile(path):
    """The profile in the file ``path``, either format, unresolved; or BadProfile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", 0) as file:
            if os.fstat(descriptor).st_mode & 0o170000 != 0o100000:
                raise BadProfile(path, "it is not an ordinary file")
            text = file.read(LARGEST_PROFILE + 1)
    except OSError as error:
        raise BadProfile(path, error.strerror) from None
    if len(text) > LARGEST_PROFILE:
        raise BadProfile(path, "it is larger than 1 MiB")
    try:
        return jsontext.loads(text)
    except jsontext.DecodeError as error:
        raise BadProfile(path, f"not JSON: {error}") from None


def default_profile(capabilities):
    """rl's own profile for a bounding set (int), as OCI ``linux.seccomp``."""
    return resolve_profile(None, capabilities)


def resolve_profile(source, capabilities, machine=None, release=None):
    """A profile as OCI ``linux.seccomp``, with what its conditions exclude left out.

    ``source`` is the path of a file, or None for the packaged default.  ``capabilities`` is
    the container's bounding set (int); ``machine`` and ``release`` are as uname(2) says.
    Raises BadProfile.
    """
    name = conf_path("seccomp.json") if source is None else source
    return _Resolver(name, capabilities, machine, release).resolve(read_profile(name))


class _Resolver:
    def __init__(self, name, capabilities, machine, release):
        system = os.uname()
        self.name = name
        self.capabilities = capabilities
        self.machine = machine or system.machine
        self.release = release or system.release

    def fail(self, why):
        raise BadProfile(self.name, why)

    def resolve(self, raw):
        if not isinstance(raw, dict):
            self.fail("it is not a JSON object")
        if raw.get("listenerPath") or raw.get("listenerMetadata"):
            self.fail("rl has no agent for SCMP_ACT_NOTIFY")
        found = {"defaultAction": self.action(raw.get("defaultAction"), "defaultAction")}
        number = self.number(raw, "defaultErrnoRet", "defaultErrno")
        if number is not None:
            found["defaultErrnoRet"] = number
        found["architectures"] = self.architectures(raw)
        flags = self.texts(raw.get("flags"), "flags")
        for flag in flags:
            if flag not in _FLAGS:
                self.fail(f"rl does not support the flag {flag!r}")
        if flags:
            found["flags"] = flags
        rules = raw.get("syscalls")
        if not isinstance(rules, list):
            self.fail("it has no list of syscalls")
        found["syscalls"] = [self.rule(rule) for rule in rules if self.applies(rule)]
        return found

    def action(self, value, where):
        if not isinstance(value, str) or value not in _RANK:
            self.fail(f"{where} is {value!r}, not an action that rl supports")
        return value

    def number(self, holder, key, named):
        """An error number, given as a number or (podman) by its name."""
        value, name = holder.get(key), holder.get(named)
        if value is None and name:
            import errno

            value = getattr(errno, name, None) if isinstance(name, str) else None
            if value is None:
                self.fail(f"{named} is {name!r}, not the name of an error")
        if value is not None and (type(value) is not int or not 0 <= value <= 4095):
            self.fail(f"{key} is {value!r}, not an error number")
        return value

    def texts(self, value, where):
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(f"{where} is not a list of words")
        return value

    def architectures(self, raw):
        plain, table = self.texts(raw.get("architectures"), "architectures"), raw.get("archMap")
        if plain and table:
            self.fail("it has both architectures and archMap")
        if not table:
            return plain
        native = "SCMP_ARCH_" + _MACHINES.get(self.machine, (self.machine.upper(), ""))[0]
        for entry in table if isinstance(table, list) else self.fail("archMap is not a list"):
            if isinstance(entry, dict) and entry.get("architecture") == native:
                return [native, *self.texts(entry.get("subArchitectures"), "subArchitectures")]
        return [native]

    def applies(self, rule):
        """Whether a rule's conditions hold here (docker: all includes, none of excludes)."""
        if not isinstance(rule, dict):
            self.fail("a rule is not an object")
        includes, excludes = self.condition(rule, "includes"), self.condition(rule, "excludes")
        arch = _MACHINES.get(self.machine, ("", self.machine))[1]
        if "arches" in includes and arch not in includes["arches"]:
            return False
        if arch in excludes.get("arches", ()):
            return False
        if any(not self.capabilities & bit for bit in includes.get("caps", ())):
            return False
        if any(self.capabilities & bit for bit in excludes.get("caps", ())):
            return False
        if "minKernel" in includes and not self.at_least(includes["minKernel"]):
            return False
        return not ("minKernel" in excludes and self.at_least(excludes["minKernel"]))

    def condition(self, rule, key):
        given = rule.get(key) or {}
        if not isinstance(given, dict):
            self.fail(f"{key} of a rule is not an object")
        found = {}
        for name, value in given.items():
            if name == "minKernel":
                found[name] = value
            elif name not in ("arches", "caps"):
                self.fail(f"a rule has the condition {name!r}, which rl does not know")
            elif value:
                found[name] = self.texts(value, f"{name} of a rule")
        if "caps" in found:
            numbers = kernel_caps.NUMBERS
            # A capability that nobody has heard of is one that the container hasn't got.
            found["caps"] = [1 << numbers.get(name, 63) for name in found["caps"]]
        return found

    def at_least(self, wanted):
        try:
            minimum = tuple(int(part) for part in wanted.split(".")[:2])
        except (AttributeError, ValueError):
            self.fail(f"minKernel is {wanted!r}, not a version of Linux")
        digits = [part for part in self.release.replace("-", ".").split(".") if part.isdigit()]
        return tuple(int(part) for part in digits[:2]) >= minimum

    def rule(self, rule):
        names = self.texts(rule.get("names"), "names of a rule")
        if rule.get("name"):  # docker's first format
            names = [*names, *self.texts([rule["name"]], "name of a rule")]
        if not names:
            self.fail("a rule names no system call")
        found = {"names": names, "action": self.action(rule.get("action"), "action of a rule")}
        number = self.number(rule, "errnoRet", "errno")
        if number is not None:
            found["errnoRet"] = number
        args = rule.get("args") or []
        if not isinstance(args, list):
            self.fail("args of a rule is not a list")
        if args:
            found["args"] = [self.argument(arg) for arg in args]
        return found

    def argument(self, arg):
        if not isinstance(arg, dict):
            self.fail("an argument is not an object")
        found = {"index": arg.get("index"), "value": arg.get("value"), "op": arg.get("op")}
        if type(found["index"]) is not int or not 0 <= found["index"] <= 5:
            self.fail(f"the index of an argument is {found['index']!r}, not 0 to 5")
        if arg.get("valueTwo"):
            found["valueTwo"] = arg["valueTwo"]
        for key in ("value", "valueTwo"):
            value = found.get(key, 0)
            if type(value) is not int or not 0 <= value < 1 << 64:
                self.fail(f"the {key} of an argument is {value!r}, not a 64-bit number")
        if found["op"] not in ["SCMP_CMP_" + operator for operator in _OPERATORS]:
            self.fail(f"an argument has the operator {found['op']!r}")
        return found


# --- compiling -----------------------------------------------------------------------------


def flags(profile):
    """The flags (int) that an OCI ``linux.seccomp`` object asks for."""
    found = 0
    for flag in profile.get("flags") or ():
        if flag not in _FLAGS:
            raise BadProfile("of the container", f"rl does not support the flag {flag!r}")
        found |= _FLAGS[flag]
    return found


def _library():
    """The binding to libseccomp; or NoLibrary."""
    import ctypes
    import ctypes.util

    find = ctypes.util.find_library
    try:
        ctypes.CDLL("libseccomp.so.2")
        # find_library would run ldconfig or a compiler, which takes time, and which small
        # systems don't have.  None for libc: this process has it already.
        ctypes.util.find_library = {"seccomp": "libseccomp.so.2"}.get
        import pyseccomp
    except (OSError, RuntimeError, ImportError, AttributeError) as error:
        raise NoLibrary(error) from None
    finally:
        ctypes.util.find_library = find
    return pyseccomp


def compile(profile, name="of the container"):
    """The BPF program (bytes) of an OCI ``linux.seccomp`` object.

    Where two rules decide the same calls, the stricter one counts.  A system call that
    libseccomp doesn't know is left to the default action if that is at least as strict as
    the rule; a stricter rule for it is an error, because it would have no effect.  So is a
    condition that another, more permissive rule without conditions would override.  Raises
    BadProfile, NoLibrary.
    """
    binding = _library()
    profile = _Resolver(name, 0, None, None).resolve(profile)
    default = _value(binding, profile["defaultAction"], profile.get("defaultErrnoRet"))
    try:
        program = binding.SyscallFilter(default)
        program.set_attr(binding.Attr.CTL_NNP, 0)
        _optimize(binding, program)
        for architecture in profile["architectures"]:
            _add_architecture(binding, program, architecture, name)
        for rule in _rules(binding, profile, name):
            _add(binding, program, rule)
        return _export(program)
    except OSError as error:
        raise BadProfile(name, f"libseccomp says: {error.strerror}") from None


def _value(binding, action, number):
    if action in _WITH_NUMBER:
        maker = binding.ERRNO if action == "SCMP_ACT_ERRNO" else binding.TRACE
        return maker(1 if number is None else number)  # EPERM, says the OCI specification
    return getattr(binding, action[len("SCMP_ACT_") :])


def _optimize(binding, program):
    """A binary tree instead of a list: some 9 comparisons per call instead of some 300."""
    try:
        program.set_attr(binding.Attr.CTL_OPTIMIZE, 2)
    except OSError:
        pass  # before libseccomp 2.5


def _add_architecture(binding, program, architecture, name):
    number = getattr(binding.Arch, architecture.removeprefix("SCMP_ARCH_"), None)
    if number is None or not architecture.startswith("SCMP_ARCH_"):
        raise BadProfile(name, f"{architecture!r} is not an architecture")
    try:
        program.add_arch(number)
    except FileExistsError:
        pass  # this machine's own is always there


def _rules(binding, profile, name):
    """The rules to add: {(system call, arguments): (rank, value)}, checked, as sorted items."""
    default = _RANK[profile["defaultAction"]]
    default_value = _value(binding, profile["defaultAction"], profile.get("defaultErrnoRet"))
    found = {}
    for rule in profile["syscalls"]:
        rank = _RANK[rule["action"]]
        value = _value(binding, rule["action"], rule.get("errnoRet"))
        args = tuple(
            (arg["index"], arg["op"], arg["value"], arg.get("valueTwo", 0))
            for arg in rule.get("args", ())
        )
        for call in rule["names"]:
            if binding.resolve_syscall(binding.Arch.NATIVE, call) == -1:
                if rank < default:
                    raise BadProfile(name, f"libseccomp does not know the system call {call!r}")
                continue
            if (call, args) not in found or rank < found[call, args][0]:
                found[call, args] = (rank, value)
    for (call, args), (rank, _) in list(found.items()):
        whole = found.get((call, ()))
        if args and whole and rank < whole[0]:
            raise BadProfile(
                name, f"its rule with arguments for {call} has no effect beside the one without"
            )
        if args and whole:
            del found[call, args]
    return [
        (call, args, value) for (call, args), (_, value) in found.items() if value != default_value
    ]


def _add(binding, program, rule):
    call, args, value = rule
    compared = [
        binding.Arg(index, getattr(binding, operator[len("SCMP_CMP_") :]), first, second)
        for index, operator, first, second in args
    ]
    program.add_rule(value, call, *compared)


def _export(program):
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with open(descriptor, "w+b", 0) as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()
