"""Telling systemd how a service does: one datagram to the socket that it names (sd_notify(3))."""

import os
import socket


def notify(*lines: str) -> bool:
    """Send `READY=1`, `STOPPING=1`, `STATUS=...`; do nothing outside systemd. Returns whether."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # Linux' namespace without files
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
    return True
