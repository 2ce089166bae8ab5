"""When a request for a certificate is over."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from minikube_py.lib import authority, csr, pki
from minikube_py.server.controllers.csr_cleaner import ends

MADE = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def request(certificate: str = "", **conditions: datetime) -> dict[str, object]:
    listed = [
        {"type": name, "status": "True", "lastUpdateTime": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
        for name, since in conditions.items()
    ]
    status = {"conditions": listed, **({"certificate": certificate} if certificate else {})}
    created = f"{MADE:%Y-%m-%dT%H:%M:%SZ}"
    return {"metadata": {"name": "a", "creationTimestamp": created}, "status": status}


def test_one_that_nobody_decides_stays_a_day() -> None:
    assert list(ends(request())) == [MADE + 24 * HOUR]


@pytest.mark.parametrize("answer", ["Denied", "Failed"])
def test_one_that_was_refused_stays_an_hour(answer: str) -> None:
    assert list(ends(request(**{answer: MADE + HOUR}))) == [MADE + 2 * HOUR]


def test_one_that_waits_for_its_signer_stays() -> None:
    assert not list(ends(request(Approved=MADE)))


def test_one_with_a_certificate_stays_an_hour_or_as_long_as_that_lives(tmp_path: Path) -> None:
    ca = authority.ensure_ca(tmp_path, "ca", "test", MADE)
    asked = csr.Request.of(pki.request(pki.Subject(name="a"), pki.new_key()))
    pem = csr.sign(ca, asked, (), timedelta(minutes=10), now=MADE)
    found = ends(request(base64.b64encode(pem).decode(), Approved=MADE))
    assert sorted(found) == [MADE + timedelta(minutes=10), MADE + HOUR]
