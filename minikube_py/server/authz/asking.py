"""Asking authorisers in the middle of a request, those among them that ask other servers."""

from minikube_py.lib.patience import in_loop, wait_in_thread
from minikube_py.server.attributes import Attributes, Authorizer, Decision, Preparing


async def asked(authorizer: Authorizer, attributes: Attributes) -> Decision:
    """Return what an authoriser says of a request.

    Raises:
        InternalError: it could not find out.

    """
    if isinstance(authorizer, Preparing) and authorizer.asks_others:
        await authorizer.prepare(attributes)
    return authorizer.authorize(attributes)


def asked_patiently(authorizer: Authorizer, attributes: Attributes) -> Decision:
    """Do the same from within work that is done `patiently`.

    Raises:
        InternalError: it could not find out.
        OutOfPatienceError: that takes long, so the work has to go to a thread.

    """
    if isinstance(authorizer, Preparing) and authorizer.asks_others:
        return wait_in_thread(lambda: asked(authorizer, attributes))
    return in_loop(lambda: authorizer.authorize(attributes))
