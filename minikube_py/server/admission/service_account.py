"""Every pod runs as a service account, and finds its token where client libraries look."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikube_py.api.core import PODS
from minikube_py.api.core.pod_references import MIRROR, references_of
from minikube_py.api.core.serviceaccount import ENFORCE
from minikube_py.api.object import Key, Obj, annotations_of, evolve, get, without
from minikube_py.client.protocol import Lister
from minikube_py.lib.clock import Clock
from minikube_py.lib.values import random_text
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission, AdmissionPlugin

DEFAULT = "default"
VOLUME_PREFIX = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
"""An hour and a bit: an odd number, so that such tokens can be told apart (upstream's)."""
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated names: no vowels, no look-alikes (apimachinery's `rand`)."""
WAITS = 30
WAIT_SECONDS = 0.1
"""How often and long a pod waits for the account of a namespace that is new."""
TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
"""What Go reads as true."""
KINDS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}


class ServiceAccount(AdmissionPlugin):
    """Fills in the account, its pull secrets and the volume with its token."""

    name = "ServiceAccount"
    resources = (PODS,)

    def __init__(self, service_accounts: Lister, clock: Clock) -> None:
        self._service_accounts = service_accounts
        self._clock = clock

    async def admit(self, admission: Admission) -> Obj | None:
        """Complete a new pod; leave a mirror pod as its node made it."""
        pod = admission.obj
        if pod is None or admission.resource is not PODS or admission.subresource:
            return pod
        if admission.operation != "CREATE":
            return pod
        if MIRROR in annotations_of(pod):
            check_mirror(admission, pod)
            return pod
        return complete(pod, await self._account(admission, pod))

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check that a pod takes no secret that its account does not name, where that matters."""
        pod = admission.obj
        if pod is None or admission.resource is not PODS:
            return ()
        if admission.subresource == "ephemeralcontainers" and admission.operation == "UPDATE":
            groups: Sequence[str] = ("ephemeralContainers",)
        elif admission.subresource == "" and admission.operation == "CREATE":
            groups = ("initContainers", "containers")
        else:
            return ()
        if MIRROR in annotations_of(pod):
            check_mirror(admission, pod)
            return ()
        if not get(pod, "spec.serviceAccountName"):
            name = f"{admission.namespace}/{pod['metadata'].get('name', '')}"
            raise forbidden(admission, f"no service account specified for pod {name}")
        account = await self._account(admission, pod)
        if annotations_of(account).get(ENFORCE) in TRUE:
            for text in unlisted(pod, account, groups):
                raise forbidden(admission, text)
        return ()

    async def _account(self, admission: Admission, pod: Obj) -> Obj:
        name = get(pod, "spec.serviceAccountName") or DEFAULT
        namespace = admission.namespace
        account = self._service_accounts.get(Key(namespace, name))
        for _ in range(WAITS if name == DEFAULT else 0):
            if account is not None:
                break
            await self._clock.sleep(WAIT_SECONDS)
            account = self._service_accounts.get(Key(namespace, name))
        if account is None:
            raise forbidden(
                admission,
                f"error looking up service account {namespace}/{name}: "
                f'serviceaccount "{name}" not found',
            )
        return account


def unlisted(pod: Obj, account: Obj, groups: Sequence[str]) -> Iterator[str]:
    """Yield what a pod uses of secrets that its account does not list."""
    name = account["metadata"]["name"]
    because = f"is not allowed because service account {name} does not reference that"
    mountable = {reference.get("name") for reference in account.get("secrets") or ()}
    for what, secret in _uses(pod, groups):
        if secret not in mountable:
            yield f'{what} secret.secretName="{secret}" {because} secret'
    if "ephemeralContainers" in groups:
        return
    pulls = {reference.get("name") for reference in account.get("imagePullSecrets") or ()}
    for index, reference in enumerate(get(pod, "spec.imagePullSecrets", ())):
        secret = reference.get("name", "")
        if secret not in pulls:
            yield f'imagePullSecrets[{index}].name="{secret}" {because} imagePullSecret'


def _uses(pod: Obj, groups: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield who uses a secret, and which."""
    if "ephemeralContainers" not in groups:
        for volume in get(pod, "spec.volumes", ()):
            if volume.get("secret") is not None:
                yield "volume with", get(volume, "secret.secretName", "")
    for group in groups:
        for container in get(pod, f"spec.{group}", ()):
            for how, secret in _secrets_of(container):
                yield f"{KINDS[group]} {container['name']} with {how} referencing", secret


def _secrets_of(container: Obj) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        if source.get("secretRef") is not None:
            yield "envFrom", get(source, "secretRef.name", "")
    for variable in container.get("env") or ():
        if get(variable, "valueFrom.secretKeyRef") is not None:
            how = f"envVar {variable.get('name', '')}"
            yield how, get(variable, "valueFrom.secretKeyRef.name", "")


def check_mirror(admission: Admission, pod: Obj) -> None:
    """Refuse a mirror pod that would need the API: its node runs it without."""
    if get(pod, "spec.serviceAccountName"):
        raise forbidden(admission, "a mirror pod may not reference service accounts")
    if references_of(without(pod, "metadata.annotations")).secrets:
        raise forbidden(admission, "a mirror pod may not reference secrets")
    for volume in get(pod, "spec.volumes") or ():
        sources = get(volume, "projected.sources") or ()
        if any(source.get("serviceAccountToken") for source in sources):
            raise forbidden(
                admission, "a mirror pod may not use ServiceAccountToken volume projections"
            )


def complete(pod: Obj, account: Obj) -> Obj:
    """Return the pod with what it gets of its account."""
    name = account["metadata"]["name"]
    accounts = {"serviceAccountName": name, "serviceAccount": name}
    pod = {**pod, "spec": {**(pod.get("spec") or {}), **accounts}}
    if mounts_token(pod, account):
        pod = with_token(pod)
    pulls = account.get("imagePullSecrets")
    if pulls and not get(pod, "spec.imagePullSecrets"):
        pod = evolve(pod, "spec.imagePullSecrets", pulls)
    return pod


def mounts_token(pod: Obj, account: Obj) -> bool:
    """Tell whether a pod wants its token; the pod's word counts before the account's."""
    wish = get(pod, "spec.automountServiceAccountToken")
    if wish is None:
        wish = account.get("automountServiceAccountToken")
    return wish is not False


def with_token(pod: Obj) -> Obj:
    """Return the pod with the token's volume, mounted where a container has nothing else."""
    spec = pod["spec"]
    volumes: Sequence[Obj] = spec.get("volumes") or ()
    existing = next(
        (name for v in volumes if (name := v.get("name", "")).startswith(VOLUME_PREFIX)), ""
    )
    name = existing or f"{VOLUME_PREFIX}{random_text(SUFFIX_LETTERS, 5)}"
    changed = {
        group: list(_mounted(spec[group], name))
        for group in ("initContainers", "containers")
        if spec.get(group)
    }
    mounts = any(
        new is not old
        for group, containers in changed.items()
        for new, old in zip(containers, spec[group], strict=True)
    )
    if mounts and not existing:
        changed["volumes"] = [*volumes, token_volume(name)]
    return {**pod, "spec": {**spec, **changed}}


def _mounted(containers: Sequence[Obj], volume: str) -> Iterator[Obj]:
    mount = {"name": volume, "readOnly": True, "mountPath": MOUNT_PATH}
    for container in containers:
        mounts = container.get("volumeMounts") or ()
        if any(other.get("mountPath") == MOUNT_PATH for other in mounts):
            yield container
        else:
            yield {**container, "volumeMounts": [*mounts, mount]}


def token_volume(name: str) -> Mapping[str, Any]:
    """Return the volume of token, CA and namespace."""
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    ca = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    return {
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": ca},
                {"downwardAPI": {"items": [namespace]}},
            ],
        },
    }
