"""The table of etcd's messages says what etcd's own definitions say."""

import json
from pathlib import Path
from typing import Any

import pytest

from minikube_py.datastore.etcd.messages import PACKAGE, SERVICES, TABLE, Method, codec
from minikube_py.lib.message_table import parse

FACTS: dict[str, Any] = json.loads(
    (
        Path(__file__).resolve().parents[5] / "shared" / "reference" / "wire" / "etcd-v3.json"
    ).read_text()
)


def plain(name: str) -> str:
    return name.replace("stream ", "").rpartition("pb.")[2]


@pytest.mark.parametrize("name", sorted(parse(TABLE)))
def test_a_message_has_the_fields_of_etcd(name: str) -> None:
    known = {plain(full): fields for full, fields in FACTS["messages"].items()}[name]
    if "enum" in parse(TABLE)[name]:
        assert parse(TABLE)[name] == known
        return
    wanted = {
        field: (number, plain(kind), *(label.split()[0] for label in rest))
        for field, (number, kind, *rest) in known.items()
    }
    assert parse(TABLE)[name] == wanted


@pytest.mark.parametrize("service", SERVICES)
def test_the_methods_of_a_service_have_the_messages_of_etcd(service: str) -> None:
    known = FACTS["services"][f"{PACKAGE}.{service}"]
    for name, method in SERVICES[service].items():
        request, response = known[name]
        assert method == Method(
            plain(request),
            plain(response),
            streams_in=request.startswith("stream "),
            streams_out=response.startswith("stream "),
        )
    assert service == "Auth" or set(known) - set(SERVICES[service]) <= {"Downgrade"}


def test_zero_is_sent_where_it_is_one_of_several() -> None:
    absent = {"key": b"k", "target": "MOD", "mod_revision": 0}
    assert codec().decode("Compare", codec().encode("Compare", absent)) == absent
