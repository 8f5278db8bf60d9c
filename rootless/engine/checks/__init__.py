"""What can be in the way of containers on this machine: facts, and checks over them."""


class Finding:
    """One thing that a check has to say.

    ``name`` identifies the check's case; ``ladder`` is what it belongs to ("ids",
    "layer", "limits", "network", "runtime directory", "store", "security", "session");
    ``level``: "warn" (something works less well), "missing" (a rung or an ability is
    lost) or "fatal" (rl can't run containers until it is dealt with).  ``cause`` is one
    sentence; ``evidence`` the observations it rests on; ``root`` the command that root
    can type to change it, ``user`` what helps without root; None where there is nothing.
    """

    __slots__ = ("name", "ladder", "level", "cause", "evidence", "root", "user")

    def __init__(self, name, ladder, level, cause, evidence=(), root=None, user=None):
        self.name = name
        self.ladder = ladder
        self.level = level
        self.cause = cause
        self.evidence = [evidence] if isinstance(evidence, str) else list(evidence)
        self.root = root
        self.user = user

    def as_dict(self):
        return {slot: getattr(self, slot) for slot in self.__slots__}
