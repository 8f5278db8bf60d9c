"""The rung of the id ladder that the user who runs the tests is on."""

import os
import pwd


def has_range():
    """Whether this user has subordinate ids."""
    names = (f"{pwd.getpwuid(os.geteuid()).pw_name}:", f"{os.geteuid()}:")
    with open("/etc/subuid", encoding="utf-8") as file:
        return any(line.startswith(names) for line in file)
