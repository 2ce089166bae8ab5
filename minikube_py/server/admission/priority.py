"""The number behind a pod's priority class; nobody gives that number themselves."""

from collections.abc import Sequence

from minikube_py.api.core import PODS
from minikube_py.api.object import Key, Obj, get
from minikube_py.api.scheduling import PRIORITYCLASSES
from minikube_py.client.protocol import Lister
from minikube_py.server.admission.errors import forbidden
from minikube_py.server.attributes import Admission, AdmissionPlugin

PREEMPT = "PreemptLowerPriority"


class Priority(AdmissionPlugin):
    """Resolves priority classes."""

    name = "Priority"
    resources = (PODS, PRIORITYCLASSES)

    def __init__(self, classes: Lister) -> None:
        self._classes = classes

    async def admit(self, admission: Admission) -> Obj | None:
        """Fill in priority and preemption policy of a new pod; keep those of an old one."""
        pod = admission.obj
        if pod is None or admission.resource is not PODS or admission.subresource:
            return pod
        if admission.old is not None:
            return _carried(pod, admission.old)
        name, value, policy = self._resolve(admission, get(pod, "spec.priorityClassName", ""))
        given, given_policy = get(pod, "spec.priority"), get(pod, "spec.preemptionPolicy")
        if given is not None and given != value:
            raise forbidden(
                admission,
                f"the integer value of priority ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name",
            )
        if given_policy is not None and given_policy != policy:
            raise forbidden(
                admission,
                f"the string value of PreemptionPolicy ({given_policy}) must not be provided in "
                f"pod spec; priority admission controller computed {policy} from the given "
                "PriorityClass name",
            )
        filled = {"priority": value, "preemptionPolicy": policy}
        if name:
            filled["priorityClassName"] = name
        return {**pod, "spec": {**pod["spec"], **filled}}

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Refuse a second class that is the default of the cluster."""
        wanted = admission.obj
        if wanted is None or admission.resource is not PRIORITYCLASSES:
            return ()
        default = self._default() if wanted.get("globalDefault") else None
        if default is not None and default["metadata"]["name"] != wanted["metadata"]["name"]:
            name = default["metadata"]["name"]
            raise forbidden(
                admission,
                f"PriorityClass {name} is already marked as default. Only one default can exist",
            )
        return ()

    def _resolve(self, admission: Admission, name: str) -> tuple[str, int, str]:
        found = self._classes.get(Key("", name)) if name else self._default()
        if found is None and name:
            raise forbidden(admission, f"no PriorityClass with name {name} was found")
        if found is None:
            return "", 0, PREEMPT
        policy = found.get("preemptionPolicy") or PREEMPT
        return found["metadata"]["name"], found["value"], policy

    def _default(self) -> Obj | None:
        """Return the default class; of several the lowest, which a race may have let in."""
        defaults = [item.obj for item in self._classes.items() if item.obj.get("globalDefault")]
        return min(defaults, key=lambda found: int(found["value"]), default=None)


def _carried(pod: Obj, old: Obj) -> Obj:
    """Fill in what an updating client left out, because it did not know the fields."""
    missing = {
        name: old["spec"][name]
        for name in ("priority", "preemptionPolicy", "priorityClassName")
        if pod["spec"].get(name) is None and old["spec"].get(name) is not None
    }
    return {**pod, "spec": {**pod["spec"], **missing}} if missing else pod
