"""Shuffle sharding: a flow is dealt a hand of queues, by its hash.

Two flows share all queues of their hands very rarely, so one that floods its hand leaves another
at least one free queue.
"""

import hashlib
from functools import lru_cache

HANDS_KEPT_MAX = 4096


def flow_hash(schema: str, distinguisher: str) -> int:
    """Return the 64 bits that tell one flow from others."""
    # A user's name may come from a header, which may hold bytes that are no UTF-8.
    text = f"{schema}\0{distinguisher}".encode(errors="surrogateescape")
    digest = hashlib.sha256(text).digest()
    return int.from_bytes(digest[:8], "little")


@lru_cache(HANDS_KEPT_MAX)
def deal(entropy: int, deck: int, hand: int) -> tuple[int, ...]:
    """Return `hand` different numbers below `deck`; every hand is as likely as the others."""
    dealt: list[int] = []
    for taken in range(min(hand, deck)):
        entropy, card = divmod(entropy, deck - taken)
        # The card counts among those that are left: step over the ones that are gone.
        for earlier in sorted(dealt):
            card += earlier <= card
        dealt.append(card)
    return tuple(dealt)
