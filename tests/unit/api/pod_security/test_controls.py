"""The controls: what each of them refuses from which version on, in upstream's words."""

from typing import Any

import pytest

from minikube_py.api.pod_security import LATEST, LevelVersion, details, evaluate, reasons
from minikube_py.api.pod_security.library import CONTROLS, NEWEST, checks_of
from tests.frozen import freeze

HARD = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What a container of a restricted pod says."""


def container(name: str = "a", **context: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", "securityContext": {**HARD, **context}}


def told(
    level: str,
    spec: dict[str, Any],
    minor: int = LATEST,
    annotations: dict[str, str] | None = None,
) -> str:
    pod = freeze({"containers": [container()], **spec})
    metadata = freeze({"name": "p", "annotations": annotations})
    return details(evaluate(LevelVersion(level, minor), metadata, pod))


def both(**context: Any) -> dict[str, Any]:
    """Return a spec with one init container and one container that say the same."""
    first, second = container("a", **context), container("b", **context)
    return {"initContainers": [first], "containers": [second]}


BASELINE: list[tuple[dict[str, Any], str]] = [
    (
        {"hostNetwork": True, "hostPID": True, "hostIPC": True},
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    ),
    (
        {"volumes": [{"name": "x", "hostPath": {}}, {"name": "y", "hostPath": {"path": "/"}}]},
        'hostPath volumes (volumes "x", "y")',
    ),
    (
        {
            "containers": [
                {**container("a"), "ports": [{"hostPort": 80}, {"hostPort": 443}]},
                {**container("b"), "ports": [{"hostPort": 0}]},
            ]
        },
        'hostPort (container "a" uses hostPorts 443, 80)',
    ),
    (
        both(privileged=True),
        'privileged (containers "a", "b" must not set securityContext.privileged=true)',
    ),
    (
        both(capabilities={"add": ["NET_RAW", "CHOWN", "BPF"]}),
        (
            'non-default capabilities (containers "a", "b" must not include "BPF", "NET_RAW" '
            "in securityContext.capabilities.add)"
        ),
    ),
    (
        both(procMount="Unmasked"),
        'procMount (containers "a", "b" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        {"securityContext": {"seLinuxOptions": {"user": "u", "role": "r"}}},
        (
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: "
            "user may not be set; role may not be set)"
        ),
    ),
    (
        both(seLinuxOptions={"type": "x_t"}),
        (
            'seLinuxOptions (containers "a", "b" set forbidden securityContext.seLinuxOptions: '
            'type "x_t")'
        ),
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (
        {
            "securityContext": {"appArmorProfile": {"type": "Unconfined"}},
            **both(appArmorProfile={"type": "Odd"}),
        },
        (
            'forbidden AppArmor profiles (pod and containers "a", "b" must not set AppArmor '
            'profile type to "Odd", "Unconfined")'
        ),
    ),
    (
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "a.b"}]}},
        "forbidden sysctls (kernel.msgmax, a.b)",
    ),
    (
        {
            "securityContext": {"windowsOptions": {"hostProcess": True}},
            **both(windowsOptions={"hostProcess": True}),
        },
        (
            'hostProcess (pod and containers "a", "b" must not set '
            "securityContext.windowsOptions.hostProcess=true)"
        ),
    ),
    (
        {
            "containers": [
                {
                    **container("a"),
                    "livenessProbe": {"httpGet": {"host": "10.0.0.1"}},
                    "lifecycle": {"preStop": {"tcpSocket": {"host": "b"}}},
                }
            ]
        },
        'probe or lifecycle host (container "a" uses probe or lifecycle hosts "10.0.0.1", "b")',
    ),
]


@pytest.mark.parametrize(("spec", "text"), BASELINE)
def test_baseline_refuses_known_ways_to_more_rights(spec: dict[str, Any], text: str) -> None:
    assert told("baseline", spec) == text
    assert told("privileged", spec) == ""


RESTRICTED: list[tuple[dict[str, Any], str]] = [
    (
        both(allowPrivilegeEscalation=None),
        (
            'allowPrivilegeEscalation != false (containers "a", "b" must set '
            "securityContext.allowPrivilegeEscalation=false)"
        ),
    ),
    (
        both(capabilities={"add": ["CHOWN", "NET_BIND_SERVICE"]}),
        (
            'unrestricted capabilities (containers "a", "b" must set '
            'securityContext.capabilities.drop=["ALL"]; containers "a", "b" must not include '
            '"CHOWN" in securityContext.capabilities.add)'
        ),
    ),
    (
        {"volumes": [{"name": "n", "nfs": {}}, {"name": "h", "hostPath": {}}, {"name": "s"}]},
        (
            'restricted volume types (volumes "n", "h", "s" use restricted volume types '
            '"hostPath", "nfs", "unknown")'
        ),
    ),
    (
        {"securityContext": {"runAsNonRoot": False}, **both(runAsNonRoot=False)},
        (
            'runAsNonRoot != true (pod and containers "a", "b" must not set '
            "securityContext.runAsNonRoot=false)"
        ),
    ),
    (
        both(runAsNonRoot=None),
        (
            'runAsNonRoot != true (pod or containers "a", "b" must set '
            "securityContext.runAsNonRoot=true)"
        ),
    ),
    (
        {"securityContext": {"runAsUser": 0}, **both(runAsUser=0)},
        'runAsUser=0 (pod and containers "a", "b" must not set runAsUser=0)',
    ),
    (
        both(seccompProfile=None),
        (
            'seccompProfile (pod or containers "a", "b" must set '
            'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        ),
    ),
    (
        both(seccompProfile={"type": "Unconfined"}),
        (
            'seccompProfile (containers "a", "b" must not set '
            'securityContext.seccompProfile.type to "Unconfined")'
        ),
    ),
]


@pytest.mark.parametrize(("spec", "text"), RESTRICTED)
def test_restricted_asks_for_hardened_pods(spec: dict[str, Any], text: str) -> None:
    assert told("restricted", spec) == text


def test_a_hardened_pod_is_allowed_everywhere() -> None:
    volumes: list[dict[str, Any]] = [
        {"name": kind, kind: {}} for kind in ("emptyDir", "secret", "image", "csi")
    ]
    for minor in (*range(NEWEST + 2), LATEST):
        assert told("restricted", {"volumes": volumes}, minor) == ""


def test_what_the_pod_says_holds_for_containers_that_say_nothing() -> None:
    whole = {"runAsNonRoot": True, "seccompProfile": {"type": "Localhost"}}
    spec = {"securityContext": whole, **both(runAsNonRoot=None, seccompProfile=None)}
    assert told("restricted", spec) == ""


def test_ephemeral_containers_are_looked_at_too() -> None:
    spec = {"ephemeralContainers": [container("debug", privileged=True)]}
    assert 'container "debug"' in told("baseline", spec)


@pytest.mark.parametrize(
    ("level", "spec", "last_refused", "first_allowed"),
    [
        (
            "baseline",
            {"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}},
            30,
            31,
        ),
        ("baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}, 31, 32),
        (
            "baseline",
            {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time"}]}},
            28,
            29,
        ),
        (
            "baseline",
            {"securityContext": {"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports"}]}},
            26,
            27,
        ),
        ("baseline", {"hostUsers": False, **both(procMount="Unmasked")}, 34, 35),
        ("restricted", {"hostUsers": False, **both(runAsNonRoot=False)}, 34, 35),
        ("restricted", {"hostUsers": False, **both(runAsUser=0)}, 34, 35),
        (
            "restricted",
            {"os": {"name": "windows"}, **both(seccompProfile=None, capabilities=None)},
            24,
            25,
        ),
    ],
)
def test_later_versions_allow_what_turned_out_to_be_harmless(
    level: str, spec: dict[str, Any], last_refused: int, first_allowed: int
) -> None:
    assert told(level, spec, last_refused)
    assert not told(level, spec, first_allowed)
    assert not told(level, spec)


@pytest.mark.parametrize(
    ("level", "spec", "since"),
    [
        (
            "baseline",
            {"containers": [{**container(), "readinessProbe": {"tcpSocket": {"host": "h"}}}]},
            34,
        ),
        ("baseline", {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, 19),
        ("restricted", both(allowPrivilegeEscalation=None), 8),
        ("restricted", both(seccompProfile=None), 19),
        ("restricted", both(capabilities=None), 22),
        ("restricted", both(runAsUser=0), 23),
    ],
)
def test_a_pinned_version_knows_nothing_of_later_controls(
    level: str, spec: dict[str, Any], since: int
) -> None:
    assert not told(level, spec, since - 1)
    assert told(level, spec, since)


def test_old_versions_look_at_annotations_of_seccomp() -> None:
    key = "seccomp.security.alpha.kubernetes.io/pod"
    assert told("baseline", {}, 18, {key: "unconfined"}) == (
        f'seccompProfile (forbidden annotation {key}="unconfined")'
    )
    assert not told("baseline", {}, 18, {key: "runtime/default"})
    assert not told("baseline", {}, 19, {key: "unconfined"})


def test_apparmor_is_refused_by_annotation_too() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/a"
    assert told("baseline", {}, annotations={key: "unconfined"}) == (
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to "
        f'"{key}="unconfined"")'
    )
    assert not told("baseline", {}, annotations={key: "localhost/mine"})


def test_the_stricter_control_speaks_for_the_weaker_one() -> None:
    spec = {"volumes": [{"name": "h", "hostPath": {}}], **both(procMount="Unmasked")}
    found = evaluate(LevelVersion("restricted"), {}, spec)
    assert reasons(found) == "procMount, restricted volume types"
    assert told("restricted", {"hostUsers": False, **both(procMount="Unmasked")})


def test_controls_stand_in_the_order_of_their_names_and_versions() -> None:
    for level in ("baseline", "restricted"):
        ids = [control.id for control in CONTROLS if control.level == level]
        assert ids == sorted(ids)
    for control in CONTROLS:
        since = [revision.since for revision in control.revisions]
        assert since == sorted(set(since))
    names = {control.id for control in CONTROLS if control.level == "baseline"}
    overridden = {r.overrides for c in CONTROLS for r in c.revisions} - {""}
    assert overridden <= names
    assert len(checks_of("restricted", 0)) == 12  # one for each control that began with 1.0
