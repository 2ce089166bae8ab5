"""Lifecycle hooks: what runs right after a container's start and right before its end."""

import asyncio

from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.kubelet.handlers import HandlerError, run_exec, run_http, target_of
from minikube_py.api.object import Obj

HTTP_SECONDS = 30.0
EXEC_SECONDS_MAX = 86400


class HookError(Exception):
    """The hook failed; the message tells how."""


async def run_hook(
    runtime: Runtime, container: Obj, container_id: str, hook: Obj, host: str
) -> None:
    """Run one hook to its end; raises HookError.

    The caller bounds the time: before a start there is no limit, before an end the grace period.
    """
    if "sleep" in hook:
        await asyncio.sleep(float(hook["sleep"].get("seconds") or 0))
        return
    try:
        if "exec" in hook:
            outcome = await run_exec(runtime, container_id, hook["exec"], EXEC_SECONDS_MAX)
        elif "httpGet" in hook:
            target = target_of(hook["httpGet"], container, host)
            outcome = await run_http(target, HTTP_SECONDS)
        else:
            raise HookError("invalid handler: neither exec, httpGet nor sleep")
    except HandlerError as error:
        raise HookError(str(error)) from None
    if not outcome.ok:
        raise HookError(outcome.output or "the command failed")
