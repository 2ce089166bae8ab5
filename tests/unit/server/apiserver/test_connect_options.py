"""What the query of a connection means."""

import pytest

from minikube_py.api.errors import BadRequestError
from minikube_py.server.apiserver.connect_options import ports_of


@pytest.mark.parametrize(
    ("query", "ports"),
    [
        ([("ports", "80")], [80]),
        ([("ports", "80"), ("ports", "81,82"), ("other", "1")], [80, 81, 82]),
        ([("port", "80")], []),
    ],
)
def test_ports_are_named_one_by_one_or_together(
    query: list[tuple[str, str]], ports: list[int]
) -> None:
    assert ports_of(query) == ports


@pytest.mark.parametrize(
    ("text", "why"),
    [("http", "invalid syntax"), ("", "invalid syntax"), ("65536", "value out of range")],
)
def test_what_is_no_port_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadRequestError) as error:
        ports_of([("ports", text)])
    assert str(error.value) == (
        f'cannot convert to []int32: strconv.ParseUint: parsing "{text}": {why}'
    )
