"""Programs end, in time or by force, and what they say is told."""

import pytest

from minikube_py.lib.programs import OUTPUT_MAX, ProgramError, run


async def test_it_tells_how_a_program_ended() -> None:
    ended = await run("sh", "-c", "cat; echo no good >&2; exit 3", stdin="a\nb\n")
    assert (ended.status, ended.printed, ended.complaint) == (3, "a\nb\n", "no good")


async def test_a_program_that_is_told_nothing_reads_nothing() -> None:
    assert (await run("cat")).printed == ""


async def test_one_that_is_not_there_is_named() -> None:
    with pytest.raises(ProgramError, match="nonesuch cannot be run: No such file or directory"):
        await run("/usr/bin/nonesuch")


async def test_one_that_takes_too_long_is_killed_and_named() -> None:
    with pytest.raises(ProgramError, match=r"sleep took longer than 0\.05 s"):
        await run("sleep", "1000", seconds=0.05)


async def test_a_long_complaint_is_cut() -> None:
    ended = await run("sh", "-c", "yes | head -c 100000 >&2")
    assert len(ended.complaint) == OUTPUT_MAX
