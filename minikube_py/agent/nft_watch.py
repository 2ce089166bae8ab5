"""Tells when others change tables of ours behind our back, so that rules are put right at once.

The kernel tells listeners of every change of nftables, with the name of the table; nothing is
asked and nothing is done while nobody changes anything. Our own changes are not listened to:
the membership is given up while they are made (`paused`).
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Collection, Iterator

log = logging.getLogger(__name__)
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
ADD_MEMBERSHIP, DROP_MEMBERSHIP = 1, 2
GROUP_NFTABLES = 7
"""NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h."""
SUBSYSTEM_NFTABLES = 10
NEW_GENERATION = 15
"""NFT_MSG_NEWGEN: ends a transaction, and is of no table."""
TABLE_ATTRIBUTE = 1
"""The first attribute of every message names the table (NFTA_*_TABLE)."""
HEAD, FAMILY_HEAD, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")
RECEIVED_MAX = 1 << 16
DATAGRAMS_AT_ONCE = 64
"""Read before others get their turn in the event loop."""


def tables_in(data: bytes) -> Iterator[str]:
    """Yield the table that each message of a datagram is about; pure."""
    at = 0
    while at + HEAD.size <= len(data):
        length, kind, *_ = HEAD.unpack_from(data, at)
        if length < HEAD.size:
            return
        body = at + HEAD.size + FAMILY_HEAD.size
        if kind >> 8 == SUBSYSTEM_NFTABLES and kind & 0xFF < NEW_GENERATION:
            yield from _table(data[body : at + length])
        at += (length + 3) & ~3


def _table(attributes: bytes) -> Iterator[str]:
    if len(attributes) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(attributes)
        if kind == TABLE_ATTRIBUTE:
            yield attributes[ATTRIBUTE.size : length].rstrip(b"\0").decode(errors="replace")


class TableWatch:
    """Listens for changes of tables by name; `changed` is called, maybe more often than needed."""

    def __init__(self, tables: Collection[str], changed: Callable[[], None]) -> None:
        self._tables = frozenset(tables)
        self._changed = changed
        self._socket: socket.socket | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen for the length of the block; where the kernel has no such thing, to nothing."""
        loop = asyncio.get_running_loop()
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            self._socket.setblocking(False)  # noqa: FBT003 -- the only way to call it
            self._socket.bind((0, 0))
            self._join(ADD_MEMBERSHIP)
        except OSError as error:
            log.warning("changes by others go unseen error=%s", error.strerror)
            yield
            return
        loop.add_reader(self._socket.fileno(), self._read)
        try:
            yield
        finally:
            loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Listen to nothing for the length of the block, in which changes of ours are made."""
        self._join(DROP_MEMBERSHIP)
        try:
            yield
        finally:
            self._join(ADD_MEMBERSHIP)

    def _join(self, option: int) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(SOL_NETLINK, option, GROUP_NFTABLES)

    def _read(self) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                data = self._socket.recv(RECEIVED_MAX) if self._socket is not None else b""
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: some were lost, and ours may have been among them
                self._changed()
                return
            if not self._tables.isdisjoint(tables_in(data)):
                self._changed()
