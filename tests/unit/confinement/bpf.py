"""A machine for classic BPF as the kernel runs it on system calls (linux/filter.h)."""

from struct import pack, unpack, unpack_from

ALLOW = 0x7FFF0000
X86_64, I386, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
_WORD = 0xFFFFFFFF


def run(program, architecture, number, args=()):
    """What the filter returns for a call: an int as in seccomp(2)."""
    padded = [arg & 0xFFFFFFFFFFFFFFFF for arg in (*args, 0, 0, 0, 0, 0, 0)[:6]]
    data = pack("=IIQ6Q", number & _WORD, architecture, 0, *padded)
    accumulator = position = 0
    while True:
        operation, yes, no, value = unpack_from("=HBBI", program, position * 8)
        position += 1
        kind = operation & 7
        if operation == 0x20:
            accumulator = unpack("=I", data[value : value + 4])[0]
        elif operation == 0x06:
            return value
        elif operation == 0x05:
            position += value
        elif kind == 0x05:
            taken = {
                0x10: accumulator == value,
                0x20: accumulator > value,
                0x30: accumulator >= value,
                0x40: accumulator & value != 0,
            }[operation & 0xF0]
            position += yes if taken else no
        elif operation == 0x54:
            accumulator &= value
        else:
            raise AssertionError(f"operation {operation:#x} at {position - 1}")


def error(result):
    """The error number of a result; None where the call is allowed."""
    if result == ALLOW:
        return None
    assert result & 0xFFFF0000 == 0x00050000, hex(result)
    return result & 0xFFFF
