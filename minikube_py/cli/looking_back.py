"""What `kpy history` and `kpy get --at` share: a client, and from a word to a path of the API."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minikube_py.lib.errors import StartError

if TYPE_CHECKING:
    from minikube_py.client.http import HttpClient


@dataclass(frozen=True)
class Kind:
    """A resource as discovery describes it."""

    base: str
    """`/api/v1` or `/apis/GROUP/VERSION`."""
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of an object, or of a list where there is no name."""
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{self.base}{inside}/{self.plural}" + (f"/{name}" if name else "")


@contextlib.asynccontextmanager
async def connected(kubeconfig: str) -> AsyncIterator["HttpClient"]:
    """Yield a client; what the server refuses is a StartError."""
    from minikube_py.api.errors import StatusError  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.cli.why import kubeconfig_of  # noqa: PLC0415
    from minikube_py.client.http import HttpClient  # noqa: PLC0415
    from minikube_py.client.kubeconfig import KubeconfigError, load  # noqa: PLC0415

    try:
        client = HttpClient(load(Path(kubeconfig_of(kubeconfig))))
    except KubeconfigError as error:
        raise StartError(str(error)) from error
    try:
        yield client
    except StatusError as error:
        raise StartError(str(error)) from error
    finally:
        await client.close()


async def kind_of(client: "HttpClient", word: str) -> Kind:
    """Return the kind that a word names: plural, singular, kind or short name, `.GROUP` after it.

    Raises:
        StartError: the server has none of that name.

    """
    name, _, group = word.lower().partition(".")
    bases = [] if group else ["/api/v1"]
    groups = (await client.read("/apis")).get("groups") or ()
    bases += [
        f"/apis/{one['preferredVersion']['groupVersion']}"
        for one in groups
        if not group or one["name"] == group or f"v1.{one['name']}" == group
    ]
    for base in bases:
        for resource in (await client.read(base)).get("resources") or ():
            if "/" not in resource["name"] and name in _names(resource):
                return Kind(base, resource["name"], resource["namespaced"])
    raise StartError(f'the server doesn\'t have a resource type "{word}"')


def _names(resource: Mapping[str, Any]) -> set[str]:
    names = (resource["name"], resource.get("singularName", ""), resource["kind"].lower())
    return {*names, *(resource.get("shortNames") or ())} - {""}


def kind_and_name(words: tuple[str, ...]) -> tuple[str, str]:
    """Read `KIND NAME` or `KIND/NAME`; the name may be missing."""
    if len(words) == 1 and "/" in words[0]:
        kind, _, name = words[0].partition("/")
        return kind, name
    if len(words) > 2 or not words:
        raise StartError("say KIND NAME, or KIND/NAME")
    return words[0], words[1] if len(words) > 1 else ""


def moment(text: str) -> dict[str, str]:
    """Return what of the past is asked for, as the server's query: a revision, a time, or ago."""
    if text.isdecimal():
        return {"revision": text}
    if text[:4].isdecimal() and text[4:5] == "-":
        return {"time": text}
    return {"ago": text.removeprefix("-")}
