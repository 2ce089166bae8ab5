"""Checks of probes and of hooks into the life of a container."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import NOT_NEGATIVE
from minikube_py.api.object import Obj

_SCHEMES: Final = frozenset({"HTTP", "HTTPS"})
_COUNTS: Final = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_PROBE_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "sleep")


def validate_probes(container: Obj, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the three probes of a container."""
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(key)) is None:
            continue
        at = path / key
        yield from _validate_probe(probe, at)
        if key == "readinessProbe":
            if (seconds := probe.get("terminationGracePeriodSeconds")) is not None:
                yield (at / "terminationGracePeriodSeconds").invalid(
                    seconds, "must not be set for readinessProbes"
                )
        elif (threshold := probe.get("successThreshold") or 0) != 1:
            yield (at / "successThreshold").invalid(threshold, "must be 1")


def _validate_probe(probe: Obj, path: Field) -> Iterator[FieldError]:
    yield from _validate_handler(probe, None, path, _PROBE_HANDLERS)
    for key in _COUNTS:
        if (count := probe.get(key) or 0) < 0:
            yield (path / key).invalid(count, NOT_NEGATIVE)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        yield (path / "terminationGracePeriodSeconds").invalid(grace, "must be greater than 0")


def validate_lifecycle(lifecycle: Obj, grace: int | None, path: Field) -> Iterator[FieldError]:
    """Report what is wrong with the hooks of a container; `grace` is the pod's, in seconds."""
    for key in ("postStart", "preStop"):
        if (hook := lifecycle.get(key)) is not None:
            yield from _validate_handler(hook, grace, path / key, _HOOK_HANDLERS)


def _validate_handler(
    handler: Obj, grace: int | None, path: Field, kinds: tuple[str, ...]
) -> Iterator[FieldError]:
    count = 0
    for kind in kinds:
        if (action := handler.get(kind)) is None:
            continue
        count += 1
        if count > 1:
            yield (path / kind).forbidden("may not specify more than 1 handler type")
        else:
            yield from _ACTIONS[kind](action, grace, path / kind)
    if not count:
        yield path.required("must specify a handler type")


def _validate_exec(action: Obj, _grace: int | None, path: Field) -> Iterator[FieldError]:
    if not action.get("command"):
        yield (path / "command").required()


def _validate_at_port(action: Obj, _grace: int | None, path: Field) -> Iterable[FieldError]:
    return validate_port(action.get("port"), path / "port")


def _validate_sleep(action: Obj, grace: int | None, path: Field) -> Iterator[FieldError]:
    seconds = action.get("seconds") or 0
    if grace is not None and not 0 <= seconds <= grace:
        yield path.invalid(
            seconds,
            f"must be non-negative and less than terminationGracePeriodSeconds ({grace})",
        )


def _validate_http_get(action: Obj, _grace: int | None, path: Field) -> Iterator[FieldError]:
    if not action.get("path"):
        yield (path / "path").required()
    yield from validate_port(action.get("port"), path / "port")
    scheme = action.get("scheme") or ""
    if scheme not in _SCHEMES:
        yield (path / "scheme").unsupported(scheme, _SCHEMES)
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        for message in names.http_header_name(name):
            yield (path / "httpHeaders").invalid(name, message)


_ACTIONS: Final[Mapping[str, Callable[[Obj, int | None, Field], Iterable[FieldError]]]] = {
    "exec": _validate_exec,
    "httpGet": _validate_http_get,
    "tcpSocket": _validate_at_port,
    "grpc": _validate_at_port,
    "sleep": _validate_sleep,
}


def validate_port(port: int | str | None, path: Field) -> Iterable[FieldError]:
    """Report a port that is neither a number in range nor a name."""
    return () if port.__class__ is int and 0 < port < 65536 else _port(port, path)


def _port(port: int | str | None, path: Field) -> Iterator[FieldError]:
    if isinstance(port, str):
        for message in names.port_name(port):
            yield path.invalid(port, message)
        return
    number = port or 0
    for message in names.port_number(number):
        yield path.invalid(number, message)
