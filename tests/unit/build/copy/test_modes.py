"""--chmod, octal and with letters."""

import pytest

from rootless.build.copy import modes
from rootless.build.copy.errors import BadMode


@pytest.mark.parametrize("text, mode, is_directory, wanted", [
    ("0", 0o755, False, 0),
    ("644", 0o755, False, 0o644),
    ("4755", 0o644, False, 0o4755),
    ("07777", 0, True, 0o7777),
    ("u+x", 0o644, False, 0o744),
    ("+x", 0o644, False, 0o755),
    ("a+x", 0o600, False, 0o711),
    ("go-rwx", 0o777, False, 0o700),
    ("u=rwx,go=rx", 0, False, 0o755),
    ("u=rw,go=", 0o777, False, 0o600),
    ("g=u", 0o740, False, 0o770),
    ("o=g", 0o750, False, 0o755),
    ("a=rX", 0o644, False, 0o444),
    ("a=rX", 0o744, False, 0o555),
    ("a=rX", 0o600, True, 0o555),
    ("a+X", 0o640, True, 0o751),
    ("u+s", 0o755, False, 0o4755),
    ("g+s", 0o755, True, 0o2755),
    ("ug-s", 0o6755, False, 0o755),
    ("+t", 0o777, True, 0o1777),
    ("u+w-x", 0o555, False, 0o655),
    ("u=rwx", 0o4755, False, 0o755),
    ("u=rwx", 0o4755, True, 0o4755),
    ("", 0o755, False, None),
    ("8", 0o755, False, None),
    ("17777", 0o755, False, None),
    ("u+q", 0o755, False, None),
    ("rwx", 0o755, False, None),
    ("u=rwx,", 0o755, False, None),
    ("-1", 0o755, False, None),
    ("0x1", 0o755, False, None),
])  # fmt: skip
def test_mode(text, mode, is_directory, wanted):
    if wanted is None:
        with pytest.raises(BadMode):
            modes.parse(text)
    else:
        assert oct(modes.parse(text)(mode, is_directory)) == oct(wanted)
