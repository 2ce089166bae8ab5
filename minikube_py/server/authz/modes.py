"""Who decides, in which order: what `--authorization-mode` names."""

from collections.abc import Callable, Mapping, Sequence

from minikube_py.server.attributes import Attributes, Authorizer, Decision
from minikube_py.server.authz.chain import AuthorizerChain, Masters

MODES = ("Node", "RBAC", "Webhook", "AlwaysAllow", "AlwaysDeny")


class AlwaysAllow:
    """Everybody may do everything."""

    def authorize(self, attributes: Attributes) -> Decision:
        """Allow it."""
        del attributes
        return Decision(allowed=True)


class AlwaysDeny:
    """Nobody may do anything that the modes before do not allow."""

    def authorize(self, attributes: Attributes) -> Decision:
        """Have no opinion, and say why."""
        del attributes
        return Decision(allowed=False, reason="Everything is forbidden.")


def chain_of(
    modes: Sequence[str], makers: Mapping[str, Callable[[], Authorizer]]
) -> AuthorizerChain:
    """Return the chain of some modes; members of system:masters are always let through."""
    known: Mapping[str, Callable[[], Authorizer]] = {
        "AlwaysAllow": AlwaysAllow,
        "AlwaysDeny": AlwaysDeny,
        **makers,
    }
    return AuthorizerChain((Masters(), *(known[mode]() for mode in modes)))
