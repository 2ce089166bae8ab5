"""Certificates: what fits is kept, what does not is made anew, and a killed start goes on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from minikube_py.lib import authority, pki
from minikube_py.lib.errors import StartError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SERVING = pki.Subject(name="kube-apiserver", alternatives=("localhost", "10.43.0.1", "::1"))


def ca(folder: Path) -> pki.Pair:
    return authority.ensure_ca(folder, "ca", "test-ca", NOW)


def leaf(folder: Path, now: datetime = NOW, subject: pki.Subject = SERVING) -> pki.Pair:
    return pki.ensure_leaf(folder, "leaf", ca(folder), subject, "server", now=now)


def test_a_serving_certificate_verifies_for_its_names(tmp_path: Path) -> None:
    pair = leaf(tmp_path)
    builder = PolicyBuilder().store(Store([ca(tmp_path).certificate])).time(NOW)
    builder.build_server_verifier(x509.DNSName("localhost")).verify(pair.certificate, [])
    with pytest.raises(x509.verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("elsewhere")).verify(pair.certificate, [])


def test_a_client_certificate_cannot_serve(tmp_path: Path) -> None:
    subject = pki.Subject(name="jane", organizations=("a", "b"))
    pair = pki.ensure_leaf(tmp_path, "jane", ca(tmp_path), subject, "client", now=NOW)
    usage = pair.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = pair.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [name.value for name in names] == ["a", "b"]


def test_files_are_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    leaf(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["ca.crt", "ca.key", "leaf.crt", "leaf.key"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_second_start_keeps_everything(tmp_path: Path) -> None:
    first = leaf(tmp_path)
    assert leaf(tmp_path).certificate == first.certificate


def test_a_leaf_with_less_than_ninety_days_left_is_renewed(tmp_path: Path) -> None:
    first = leaf(tmp_path)
    kept = leaf(tmp_path, NOW + timedelta(days=365 - 91))
    assert kept.certificate == first.certificate
    renewed = leaf(tmp_path, NOW + timedelta(days=365 - 89))
    assert renewed.certificate != first.certificate


def test_a_leaf_is_made_anew_for_one_more_name_and_kept_for_one_less(tmp_path: Path) -> None:
    more = pki.Subject(name="kube-apiserver", alternatives=(*SERVING.alternatives, "10.0.0.9"))
    first = leaf(tmp_path)
    second = leaf(tmp_path, subject=more)
    assert second.certificate != first.certificate
    assert leaf(tmp_path).certificate == second.certificate


def test_a_leaf_never_outlives_its_ca(tmp_path: Path) -> None:
    late = NOW + timedelta(days=3650 - 100)
    end = leaf(tmp_path, late).certificate.not_valid_after_utc
    assert end == ca(tmp_path).certificate.not_valid_after_utc


@pytest.mark.parametrize("lost", ["ca.crt", "leaf.crt", "leaf.key"])
def test_a_start_killed_between_two_files_goes_on(tmp_path: Path, lost: str) -> None:
    key = ca(tmp_path).key_pem
    leaf(tmp_path)
    (tmp_path / lost).unlink()
    pair = leaf(tmp_path)
    assert pair.certificate.public_key() == pair.key.public_key()
    pair.certificate.verify_directly_issued_by(ca(tmp_path).certificate)
    assert ca(tmp_path).key_pem == key


def test_a_ca_without_its_key_is_never_replaced(tmp_path: Path) -> None:
    ca(tmp_path)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(StartError, match=r"ca\.key is missing beside its certificate"):
        ca(tmp_path)


def test_a_file_with_rubbish_is_named(tmp_path: Path) -> None:
    leaf(tmp_path)
    (tmp_path / "leaf.key").write_text("rubbish")
    with pytest.raises(StartError, match=r"leaf\.key holds no key"):
        leaf(tmp_path)


def test_a_signing_request_carries_its_key() -> None:
    key = pki.new_key()
    pem = pki.request(pki.Subject(name="system:node:a"), key)
    assert pki.requested_key(pem) == key.public_key()
    with pytest.raises(ValueError, match="PEM"):
        pki.requested_key(b"rubbish")
