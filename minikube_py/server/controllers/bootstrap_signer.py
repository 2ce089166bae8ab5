"""What nodes trust a cluster by before they are in it: `cluster-info`, signed by each token.

The config map is whoever's who publishes it (kubeadm does); a node that knows a bootstrap token
checks the signature (a JSON Web Signature without its payload, RFC 7515, appendix F) and then
trusts the CA in it.
"""

from collections.abc import Iterable, Iterator, Mapping

from minikube_py.api.core import CONFIGMAPS, SECRETS
from minikube_py.api.core.secret import text_of
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, evolve
from minikube_py.client.actions import Action, Update
from minikube_py.client.controller import Also, Context, Controller
from minikube_py.lib import jws

INFO = Key("kube-public", "cluster-info")
NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
PREFIX = "jws-kubeconfig-"


async def reconcile(key: Key, ctx: Context) -> None:
    """Sign the config map anew."""
    info = ctx.lister(CONFIGMAPS).get(key)
    if info is None:
        return
    tokens = tokens_of(secret.obj for secret in ctx.lister(SECRETS).items(NAMESPACE))
    await ctx.apply(plan(info, tokens))


def tokens_of(secrets: Iterable[Obj]) -> dict[str, str]:
    """Return the tokens that sign, by id; those that are over are deleted by another loop."""
    found = {}
    for secret in secrets:
        if secret.get("type") != TYPE or text_of(secret, "usage-bootstrap-signing") != "true":
            continue
        name, token = text_of(secret, "token-id"), text_of(secret, "token-secret")
        if name and token and secret["metadata"]["name"] == f"bootstrap-token-{name}":
            found[name] = token
    return found


def plan(info: Obj, tokens: Mapping[str, str]) -> Iterator[Action]:
    """Put the signatures of all tokens beside the kubeconfig, and take others away."""
    data: Mapping[str, str] = info.get("data") or {}
    content = data.get("kubeconfig")
    if content is None:
        return
    signed = {
        f"{PREFIX}{name}": jws.detached(content, name, tokens[name]) for name in sorted(tokens)
    }
    wanted = {key: value for key, value in data.items() if not key.startswith(PREFIX)} | signed
    if wanted != data:
        yield Update(CONFIGMAPS, evolve(info, "data", wanted))


def of_secret(old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Sign anew when a token came, changed or went."""
    item = new or old
    if item is not None and item.key.namespace == NAMESPACE and item.obj.get("type") == TYPE:
        yield INFO


def of_info(_old: Item | None, new: Item | None, _: Context) -> Iterator[Key]:
    """Sign anew when the config map changed."""
    if new is not None and new.key == INFO:
        yield INFO


CONTROLLER = Controller(
    name="bootstrap-signer",
    reconcile=reconcile,
    also=(Also(SECRETS, of_secret), Also(CONFIGMAPS, of_info)),
    workers=1,
)
