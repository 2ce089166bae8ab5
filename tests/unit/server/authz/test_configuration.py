"""AuthorizationConfiguration: what it may say, and when its webhooks are asked."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from minikube_py.api import cel
from minikube_py.lib.errors import StartError
from minikube_py.server.attributes import Attributes, Authorizer, Decision, UnansweredError, User
from minikube_py.server.authz.chain import AuthorizerChain
from minikube_py.server.authz.conditions import ConditionError, holds
from minikube_py.server.authz.configuration import read
from minikube_py.server.authz.configuration_rules import REQUEST
from minikube_py.server.authz.configured import Configured
from minikube_py.server.authz.modes import AlwaysAllow, AlwaysDeny

ANN = User("ann", ("staff",))
LIST = Attributes(user=ANN, verb="list", resource="pods", namespace="a", version="v1")


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    path = tmp_path / "webhook.yaml"
    path.write_text("a kubeconfig, which only starting looks into")
    return str(path)


def webhook(kubeconfig: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "Webhook",
        "name": "far",
        "webhook": {
            "timeout": "3s",
            "subjectAccessReviewVersion": "v1",
            "matchConditionSubjectAccessReviewVersion": "v1",
            "failurePolicy": "Deny",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": kubeconfig},
            **more,
        },
    }


def document(*authorizers: dict[str, Any]) -> bytes:
    return yaml.safe_dump(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthorizationConfiguration",
            "authorizers": list(authorizers),
        }
    ).encode()


def test_a_file_names_who_decides_in_order(kubeconfig: str) -> None:
    far = webhook(
        kubeconfig,
        unauthorizedTTL="10s",
        cacheAuthorizedRequests=False,
        matchConditions=[{"expression": "request.user == 'ann'"}],
    )
    members = read(document(far, {"type": "Node", "name": "node"}, {"type": "RBAC", "name": "r"}))
    assert [(member.type, member.name) for member in members] == [
        ("Webhook", "far"),
        ("Node", "node"),
        ("RBAC", "r"),
    ]
    made = members[0].webhook
    assert made is not None
    assert (made.version, made.denies, made.timeout_seconds) == ("v1", True, 3.0)
    assert (made.allowed_seconds, made.other_seconds) == (0.0, 10.0)
    assert [condition.text for condition in made.conditions] == ["request.user == 'ann'"]


@pytest.mark.parametrize(
    ("authorizers", "text"),
    [
        ((), "authorizers: Required value: at least one authorization mode must be defined"),
        (({"name": "x"},), "authorizers[0].type: Required value"),
        (
            ({"type": "Guess", "name": "x"},),
            'authorizers[0].type: Unsupported value: "Guess": supported values: "AlwaysAllow"',
        ),
        (
            ({"type": "RBAC", "name": "a"}, {"type": "RBAC", "name": "b"}),
            'authorizers[1].type: Duplicate value: "RBAC"',
        ),
        (
            ({"type": "RBAC", "name": "a"}, {"type": "Node", "name": "a"}),
            'authorizers[1].name: Duplicate value: "a"',
        ),
        (({"type": "RBAC"},), "authorizers[0].name: Required value"),
        (
            ({"type": "RBAC", "name": "A"},),
            'authorizers[0].name: Invalid value: "A": authorizer name is invalid',
        ),
        (
            ({"type": "RBAC", "name": "a", "webhook": {}},),
            'authorizers[0].webhook: Invalid value: "non-null": may only be specified when',
        ),
        (
            ({"type": "Webhook", "name": "a"},),
            "authorizers[0].webhook: Required value: required when type=Webhook",
        ),
    ],
)
def test_mistakes_are_told_in_upstreams_words(
    authorizers: tuple[dict[str, Any], ...], text: str
) -> None:
    with pytest.raises(ValueError, match="authorizers") as raised:
        read(document(*authorizers))
    assert str(raised.value).startswith(text)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"timeout": "31s"}, '.timeout: Invalid value: "31s": must be > 0s and <= 30s'),
        ({"timeout": None}, ".timeout: Required value"),
        ({"authorizedTTL": "-1s"}, '.authorizedTTL: Invalid value: "-1s": must be > 0s'),
        (
            {"subjectAccessReviewVersion": "v2"},
            '.subjectAccessReviewVersion: Unsupported value: "v2": supported values: "v1", ',
        ),
        ({"failurePolicy": ""}, ".failurePolicy: Required value"),
        ({"connectionInfo": {}}, ".connectionInfo.type: Required value"),
        (
            {"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "a.yaml"}},
            '.connectionInfo.kubeConfigFile: Invalid value: "a.yaml": must be an absolute path',
        ),
        (
            {"matchConditions": [{"expression": " "}]},
            ".matchConditions[0].expression: Required value",
        ),
        (
            {"matchConditions": [{"expression": "request.user"}]},
            '.matchConditions[0].expression: Invalid value: "request.user": must evaluate to bool ',
        ),
        (
            {"matchConditions": [{"expression": "request.usr != null"}]},
            '.matchConditions[0].expression: Invalid value: "request.usr != null": compilation ',
        ),
        (
            {
                "matchConditionSubjectAccessReviewVersion": "",
                "matchConditions": [{"expression": "true"}],
            },
            ".matchConditionSubjectAccessReviewVersion: Required value: required if match",
        ),
    ],
)
def test_mistakes_in_a_webhook_are_told(kubeconfig: str, wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="authorizers") as raised:
        read(document(webhook(kubeconfig, **wrong)))
    assert str(raised.value).startswith(f"authorizers[0]{text}")


def conditions(*texts: str) -> list[cel.Program]:
    return [cel.compile(text, {"request": REQUEST}) for text in texts]


def test_conditions_see_the_review() -> None:
    assert holds(conditions("request.resourceAttributes.namespace == 'a'"), LIST)
    assert holds(conditions("request.resourceAttributes.name == ''"), LIST)
    assert holds(
        conditions("!has(request.nonResourceAttributes)", "'staff' in request.groups"), LIST
    )
    path = Attributes(user=ANN, verb="get", path="/metrics", is_resource=False)
    assert holds(conditions("request.nonResourceAttributes.path.startsWith('/m')"), path)
    assert not holds(conditions("has(request.resourceAttributes)"), path)


def test_a_condition_that_is_false_outweighs_one_without_a_value() -> None:
    failing = "request.nonResourceAttributes.path == ''"
    assert not holds(conditions(failing, "request.user == 'bob'"), LIST)
    with pytest.raises(ConditionError, match="resulted in error"):
        holds(conditions(failing, "true"), LIST)


class Silent:
    """Is asked and never answers."""

    asks_others = True

    def __init__(self, *, denies: bool) -> None:
        self._denies = denies

    async def prepare(self, attributes: Attributes) -> None:
        raise UnansweredError(attributes.verb, why="silence", denies=self._denies)

    def authorize(self, attributes: Attributes) -> Decision:
        del attributes
        return Decision(allowed=False)


@pytest.mark.parametrize(
    ("denies", "after", "refused"),
    [(False, AlwaysAllow(), False), (False, AlwaysDeny(), True), (True, AlwaysAllow(), True)],
)
async def test_a_webhook_without_an_answer_refuses_where_it_is_to(
    denies: bool,  # noqa: FBT001 -- a parameter of the table above
    after: Authorizer,
    refused: bool,  # noqa: FBT001
) -> None:
    chain = AuthorizerChain((Silent(denies=denies), after))
    if refused:
        with pytest.raises(UnansweredError):
            await chain.prepare(LIST)
    else:
        await chain.prepare(LIST)
        assert chain.authorize(LIST).allowed


async def _post(*_given: Any, **_more: Any) -> Any:
    raise AssertionError("nobody is to be asked")


def test_the_file_may_change_and_keeps_its_types(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "authorization.yaml"
    path.write_bytes(document({"type": "AlwaysDeny", "name": "none"}))
    decides = Configured(path, {}, _post, clock)
    assert decides.authorize(LIST).reason == "Everything is forbidden."
    allow = {"type": "AlwaysAllow", "name": "all"}
    path.write_bytes(document({"type": "AlwaysDeny", "name": "none"}, allow))
    decides.load()
    assert decides.authorize(LIST).allowed
    path.write_bytes(document({"type": "AlwaysDeny", "name": "none"}))
    with pytest.raises(StartError, match="no authorizer of type AlwaysAllow any more"):
        decides.load()
    path.write_bytes(b"nonsense")
    with pytest.raises(StartError, match="is no AuthorizationConfiguration"):
        decides.load()
    assert decides.authorize(LIST).allowed
    path.unlink()
    with pytest.raises(StartError, match="--authorization-config"):
        decides.load()
