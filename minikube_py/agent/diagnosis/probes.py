"""Questions that a program in a pod may ask of the network; blocking, each with a time limit.

They are asked in the thread that they are called from, so in whichever network that has entered.
"""

import contextlib
import os
import secrets
import socket
import struct
import time
from collections.abc import Iterator

from minikube_py.agent.dns import codec

TIMEOUT_SECONDS = 2.0
PING_SECONDS = 1.0
"""Kernels answer these themselves, however busy their machines are."""
TRIES = 2
ECHO_V4, REPLY_V4, ECHO_V6, REPLY_V6 = 8, 0, 128, 129
"""ICMP types (RFC 792, RFC 4443)."""
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, IPV6_MTU_DISCOVER = 10, 3, 23
"""linux/in.h, linux/in6.h: send as large as told and split nothing up."""
HEADERS_BYTES = {4: 28, 6: 48}
"""Of IP and ICMP."""


def ping(address: str, size: int = 0) -> str:
    """Ask a machine to answer; return "" where it does, and what happened where not.

    `size` is that of the whole packet in bytes, which must arrive in one piece; 0 for a small one.
    """
    version = 6 if ":" in address else 4
    payload = bytes(max(size - HEADERS_BYTES[version], 16))
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        if version == 6
        else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    number = os.getpid() & 0xFFFF ^ secrets.randbits(16)
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        if size:
            level, option = (
                (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)
                if version == 6
                else (socket.IPPROTO_IP, IP_MTU_DISCOVER)
            )
            sock.setsockopt(level, option, IP_PMTUDISC_PROBE)
        for turn in range(TRIES):
            try:
                sock.sendto(echo(version, number, turn, payload), (address, 0))
            except OSError as error:
                return (error.strerror or str(error)).lower()
            if _replied(sock, version, address, number):
                return ""
    return "no answer"


def _replied(sock: socket.socket, version: int, address: str, number: int) -> bool:
    for data, sender in _received(sock, PING_SECONDS):
        body = data if version == 6 else data[(data[0] & 15) * 4 :]
        if len(body) < 8 or sender != address:
            continue
        kind, _, _, found, _ = struct.unpack_from("!BBHHH", body)
        if kind in (REPLY_V4, REPLY_V6) and found == number:
            return True
    return False


def _received(sock: socket.socket, seconds: float) -> Iterator[tuple[bytes, str]]:
    """Yield what comes until the time is over."""
    end = time.monotonic() + seconds
    with contextlib.suppress(TimeoutError):
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            data, sender = sock.recvfrom(65536)
            yield data, str(sender[0])


def echo(version: int, number: int, turn: int, payload: bytes) -> bytes:
    """Return an echo request; the kernel fills in the checksum of ICMPv6 itself."""
    kind = ECHO_V6 if version == 6 else ECHO_V4
    packet = struct.pack("!BBHHH", kind, 0, 0, number, turn) + payload
    return packet if version == 6 else packet[:2] + checksum(packet) + packet[4:]


def checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071)."""
    even = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(even) // 2}H", even))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def connect(address: str, port: int) -> str:
    """Open a TCP connection; return "" where that works, and what happened where not."""
    try:
        with socket.create_connection((address, port), timeout=TIMEOUT_SECONDS * TRIES):
            return ""
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def resolve(server: str, name: str) -> tuple[str, list[str]]:
    """Ask a DNS server for addresses; return what went wrong, or "" and the addresses."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    labels = tuple(name.rstrip(".").split("."))
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((server, 53))
        for _ in range(TRIES):
            number = secrets.randbits(16)
            try:
                sock.send(codec.write_query(number, labels, codec.A))
                for data, _ in _received(sock, TIMEOUT_SECONDS):
                    if data[:2] == number.to_bytes(2, "big"):
                        return _answer(data)
            except OSError as error:
                return (error.strerror or str(error)).lower(), []
    return "no answer", []


def _answer(data: bytes) -> tuple[str, list[str]]:
    rcode = data[3] & codec.RCODE_MASK
    if rcode != codec.NOERROR:
        word = {codec.NXDOMAIN: "there is no such name", codec.SERVFAIL: "the server failed"}
        return word.get(rcode, f"refused with code {rcode}"), []
    with contextlib.suppress(codec.FormatError):
        found = [one for one in codec.read_records(data) if one.type == codec.A]
        return "", [socket.inet_ntoa(data[one.data_at : one.data_end]) for one in found]
    return "the answer is no DNS message", []
