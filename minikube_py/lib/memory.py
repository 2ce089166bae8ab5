"""What keeps a process small that lives for months: few heaps, and nothing held for later.

The C library gives each thread a heap of its own, and keeps what was freed in it. A process of
which one thread does the work needs one heap, and after its start, when most of what it needed is
needed no more, may give back what is free. Elsewhere than in GNU's C library nothing is done.
"""

import ctypes
import gc

ARENA_MAX, MMAP_THRESHOLD = -8, -3
"""M_ARENA_MAX and M_MMAP_THRESHOLD of mallopt(3)."""
LARGE_BYTES = 128 << 10
"""What is larger has pages of its own, given back when it is free: buffers of 256 KB above all, one
for each TLS connection, of which most is never touched. That is the library's own limit, which it
would raise to the size of whatever is freed."""
COLLECTOR = (5_000, 2, 200)
"""Objects made, and younger passes, before the next: a pass over 5,000 takes 2 to 4 ms."""


def few_heaps() -> None:
    """Have all threads that are yet to come share one heap, and nothing large in it."""
    _libc("mallopt", ARENA_MAX, 1)
    _libc("mallopt", MMAP_THRESHOLD, LARGE_BYTES)


def settle() -> None:
    """Take what there is now for lasting, and give back what is free."""
    gc.set_threshold(*COLLECTOR)
    gc.collect()
    gc.freeze()
    _libc("malloc_trim", 0)


def _libc(name: str, *given: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*given)
