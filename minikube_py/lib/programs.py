"""Programs of the machine, run to their end within a bound."""

import asyncio
from dataclasses import dataclass

OUTPUT_MAX = 2000
"""Characters of a complaint that are worth repeating."""


class ProgramError(Exception):
    """A program is not there, or took too long; `program` is its name."""

    def __init__(self, program: str, why: str) -> None:
        super().__init__(f"{program} {why}")
        self.program = program


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    status: int
    printed: str
    complaint: str
    """What it wrote to its standard error, without space around, cut to `OUTPUT_MAX`."""


async def run(*command: str, stdin: str = "", seconds: float = 60.0) -> Ended:
    """Run a program and wait for it; one that is given up is killed.

    Raises:
        ProgramError: it cannot be started, or took longer than `seconds`.

    """
    name = command[0].rpartition("/")[2]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            # Who is told nothing may have ended before a pipe for it is written to.
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise ProgramError(name, f"cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(seconds):
            printed, complaint = await process.communicate(stdin.encode() if stdin else None)
    except TimeoutError as error:
        raise ProgramError(name, f"took longer than {seconds:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(
        process.returncode or 0,
        printed.decode(errors="replace"),
        complaint.decode(errors="replace").strip()[:OUTPUT_MAX],
    )
