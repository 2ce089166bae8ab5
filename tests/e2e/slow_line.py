"""Carries frames between two TAP links, late and with losses: a cable that is long and bad.

    python slow_line.py NEAR FAR DELAY_MS LOSS_PERCENT ; prints "ready" when both links are there

Runs until it is killed, and the links go with it. The kernel completes checksums and cuts big
packets for a TAP, so that what is carried is what a real cable would carry.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME_BYTES_MAX = 65_600


def open_tap(name: str) -> int:
    """Make a TAP link; frames are read from and written to what is returned."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def carry(source: int, sink: int, delay_seconds: float, loss: float) -> None:
    """Take the frames that are there, and have each delivered when it is due."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(BlockingIOError):
        while frame := os.read(source, FRAME_BYTES_MAX):
            if random.random() >= loss:  # noqa: S311 -- nothing is guarded by it
                loop.call_later(delay_seconds, deliver, sink, frame)


def deliver(sink: int, frame: bytes) -> None:
    """Put a frame on a link; where that is down or full, it is lost as on any cable."""
    with contextlib.suppress(OSError):
        os.write(sink, frame)


async def main(near: str, far: str, delay_ms: str, loss_percent: str) -> None:
    """Carry frames both ways for ever."""
    ends = [open_tap(near), open_tap(far)]
    print("ready", flush=True)  # noqa: T201 -- who started this waits for it
    quality = (int(delay_ms) / 1000, int(loss_percent) / 100)
    loop = asyncio.get_running_loop()
    for source, sink in (ends, reversed(ends)):
        loop.add_reader(source, carry, source, sink, *quality)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
