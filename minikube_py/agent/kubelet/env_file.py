"""Files with variables that a container may take values from: `fileKeyRef`.

The form is a strict part of the shell's: `NAME='value'`, where the value may have several lines and
is taken letter by letter. Rules and messages are those of upstream's pkg/kubelet/util/env.
"""

from collections.abc import Iterator
from pathlib import Path

BYTES_MAX = 64 << 10
"""Upstream's limit of a file with variables is 64 KiB."""
BLANKS = " \t"


class EnvFileError(ValueError):
    """The file is not written as it must be; the message says where."""


def lookup(volume: Path, path: str, key: str) -> str:
    """Return the value of a key in a file of a volume, "" where it is not there.

    Raises:
        EnvFileError: the file cannot be read, or not be understood.

    """
    try:
        root = volume.resolve(strict=True)
        file = (root / path).resolve(strict=True)
        # What writes to the volume may have put a link there.
        if root not in file.parents:
            raise EnvFileError("the file is not within the volume")
        with file.open("rb") as opened:
            data = opened.read(BYTES_MAX + 1)
    except OSError as error:
        raise EnvFileError(f"failed to open environment variable file: {error.strerror}") from None
    if len(data) > BYTES_MAX:
        raise EnvFileError(f"environment variable file is larger than {BYTES_MAX} bytes")
    for name, value in parse(data.decode(errors="replace")):
        if name == key:
            return value
    return ""


def parse(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and values; raises EnvFileError at the first line that is wrong."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        line = line.lstrip(BLANKS)  # noqa: PLW2901 -- what is read of it
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise _wrong(number, "missing '='")
        if not name.strip(BLANKS):
            raise _wrong(number, "empty variable name")
        if name != name.rstrip(BLANKS):
            raise _wrong(number, "whitespace before '=' is not allowed")
        if value.startswith(tuple(BLANKS)):
            yield name, ""  # to a shell, what follows is a command
            continue
        if not value.startswith("'"):
            raise _wrong(number, "value must be enclosed in single quotes")
        yield name, _quoted(value[1:], number, lines)


def _quoted(rest: str, number: int, lines: Iterator[tuple[int, str]]) -> str:
    """Return what stands before the closing quote, which may be on a later line."""
    found, last = [], number
    while "'" not in rest:
        found.append(rest)
        last, rest = next(lines, (0, "'"))
        if not last:
            raise EnvFileError(
                "invalid environment variable format starting at line"
                f" {number}: unclosed single quote"
            )
    inside, _, after = rest.partition("'")
    if after.lstrip(BLANKS) and not after.lstrip(BLANKS).startswith("#"):
        raise _wrong(last, "unexpected content after closing quote")
    return "\n".join([*found, inside])


def _wrong(number: int, why: str) -> EnvFileError:
    return EnvFileError(f"invalid environment variable format at line {number}: {why}")
