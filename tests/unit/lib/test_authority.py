"""Authorities are renewed and replaced, and at no moment does anybody stop trusting anybody."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import DNSName
from cryptography.x509.verification import PolicyBuilder, Store

from minikube_py.lib import authority, fsutil, pki
from minikube_py.lib.authority import load_all
from minikube_py.lib.pki import Pair

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SERVING = pki.Subject(name="server", alternatives=("localhost",))


def ca(folder: Path, now: datetime = NOW) -> Pair:
    return authority.ensure_ca(folder, "ca", "test-ca", now)


def leaf(folder: Path, name: str = "leaf", now: datetime = NOW) -> Pair:
    return pki.ensure_leaf(folder, name, ca(folder, now), SERVING, "server", now=now)


def verify(trusted: bytes, shown: bytes, now: datetime = NOW) -> None:
    """Check what a server shows (its certificate, then its chain) as a client would."""
    first, *chain = load_all(shown)
    builder = PolicyBuilder().store(Store(load_all(trusted))).time(now)
    builder.build_server_verifier(DNSName("localhost")).verify(first, chain)


def test_a_ca_that_ends_soon_is_renewed_and_both_sides_go_on(tmp_path: Path) -> None:
    first, old_leaf = ca(tmp_path).bundle_pem, leaf(tmp_path).bundle_pem
    later = NOW + timedelta(days=3650 - 700)
    second = ca(tmp_path, later)
    assert len(load_all(second.bundle_pem)) == 2
    assert second.certificate.not_valid_after_utc > later + timedelta(days=3649)
    new_leaf = leaf(tmp_path, now=later).bundle_pem
    assert new_leaf != old_leaf
    verify(first, new_leaf, later)
    verify(second.bundle_pem, new_leaf, later)


def test_over_thirty_years_a_leaf_is_always_valid_and_the_bundle_stays_small(
    tmp_path: Path,
) -> None:
    for day in range(0, 30 * 365, 30):
        now = NOW + timedelta(days=day)
        before = ca(tmp_path, now - timedelta(days=30)).bundle_pem
        verify(before, leaf(tmp_path, now=now).bundle_pem, now)
        assert len(load_all(ca(tmp_path, now).bundle_pem)) <= authority.GENERATIONS_MAX


def test_after_a_rotation_old_and_new_trust_each_other(tmp_path: Path) -> None:
    old_trust, old_leaf = ca(tmp_path).bundle_pem, leaf(tmp_path).bundle_pem
    authority.rotate_ca(tmp_path, "ca", "test-ca", NOW)
    new_trust, new_leaf = ca(tmp_path).bundle_pem, leaf(tmp_path).bundle_pem
    assert ca(tmp_path).certificate != load_all(old_trust)[0]
    for trusted in (old_trust, new_trust):
        for shown in (old_leaf, new_leaf):
            verify(trusted, shown)


def test_two_rotations_are_bridged_for_who_missed_the_first(tmp_path: Path) -> None:
    old_trust = ca(tmp_path).bundle_pem
    for days in (0, 1):
        authority.rotate_ca(tmp_path, "ca", "test-ca", NOW + timedelta(days=days))
    verify(old_trust, leaf(tmp_path).bundle_pem, NOW + timedelta(days=1))


def test_openssl_agrees_with_a_client_that_knows_the_old_ca_alone(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old_trust = ca(tmp_path, now).bundle_pem.decode()
    authority.rotate_ca(tmp_path, "ca", "test-ca", now)
    pair = leaf(tmp_path, now=now)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate_path, pair.key_path)
    client = ssl.create_default_context(cadata=old_trust)
    left, right = socket.socketpair()
    serving = threading.Thread(target=lambda: server.wrap_socket(left, server_side=True).close())
    serving.start()
    with client.wrap_socket(right, server_hostname="localhost") as connection:
        assert connection.version() is not None
    serving.join()


def test_what_is_forgotten_is_trusted_no_longer(tmp_path: Path) -> None:
    old_leaf = leaf(tmp_path).bundle_pem
    authority.rotate_ca(tmp_path, "ca", "test-ca", NOW)
    assert authority.forget_old(tmp_path, "ca")
    assert not authority.forget_old(tmp_path, "ca")
    verify(ca(tmp_path).bundle_pem, leaf(tmp_path).bundle_pem)
    with pytest.raises(Exception, match="validation failed"):
        verify(ca(tmp_path).bundle_pem, old_leaf)


@pytest.mark.parametrize("written", range(4))
def test_a_rotation_that_is_killed_between_its_files_is_finished(
    tmp_path: Path, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_trust = ca(tmp_path).bundle_pem
    write, left = fsutil.write_atomic, [written]

    def dying(path: Path, data: bytes, mode: int = 0o600) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, data, mode)

    monkeypatch.setattr("minikube_py.lib.authority.write_atomic", dying)
    with pytest.raises(KeyboardInterrupt):
        authority.rotate_ca(tmp_path, "ca", "test-ca", NOW)
    monkeypatch.undo()
    again = ca(tmp_path)
    assert again.certificate.public_key() == again.key.public_key()
    assert (again.bundle_pem == old_trust) is (written == 0)
    verify(old_trust, leaf(tmp_path).bundle_pem)


def test_a_joining_machine_trusts_what_its_pinned_ca_vouches_for(tmp_path: Path) -> None:
    pinned = ca(tmp_path)
    renewed = ca(tmp_path, NOW + timedelta(days=3000))
    assert len(load_all(authority.vouched(renewed.bundle_pem, b"", pinned.fingerprint))) == 2
    rotated = authority.rotate_ca(tmp_path, "ca", "test-ca", NOW)
    bundle, chain = rotated.bundle_pem, rotated.chain_pem
    assert authority.vouched(bundle, chain, pinned.fingerprint) == bundle
    assert rotated.fingerprint not in {
        pki.fingerprint(c) for c in load_all(authority.vouched(bundle, b"", pinned.fingerprint))
    }


def test_a_stranger_in_a_bundle_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    good, evil = ca(tmp_path), ca(tmp_path / "evil")
    bundle = good.bundle_pem + evil.bundle_pem
    assert authority.vouched(bundle, evil.bundle_pem, good.fingerprint) == good.bundle_pem
    assert authority.vouched(evil.bundle_pem, b"", good.fingerprint) == b""


def test_a_machine_that_woke_up_in_1970_signs_what_is_valid_once_its_clock_is_set(
    tmp_path: Path,
) -> None:
    asleep = datetime(1970, 1, 1, 0, 0, 20, tzinfo=UTC)
    trusted, shown = ca(tmp_path, asleep).bundle_pem, leaf(tmp_path, now=asleep).bundle_pem
    verify(trusted, shown, asleep)
    verify(trusted, shown, NOW)
    assert leaf(tmp_path, now=NOW).bundle_pem == shown


def test_a_machine_that_lost_its_clock_makes_leaves_that_its_clock_accepts(tmp_path: Path) -> None:
    trusted, _ = ca(tmp_path).bundle_pem, leaf(tmp_path)
    asleep = datetime(1970, 1, 1, 0, 0, 20, tzinfo=UTC)
    shown = leaf(tmp_path, now=asleep).bundle_pem
    verify(trusted, shown, asleep)
    verify(trusted, shown, NOW)
