"""The chain of authorisers: the first with an opinion decides; reasons of all others are joined."""

from collections.abc import Sequence

from minikube_py.server.attributes import (
    Attributes,
    Authorizer,
    Decision,
    Preparing,
    UnansweredError,
)
from minikube_py.server.authz.rbac import NO_OPINION

MASTERS = "system:masters"


class Masters:
    """Members of system:masters may do everything, whatever the roles say."""

    def authorize(self, attributes: Attributes) -> Decision:
        """Allow members, have no opinion on others."""
        return Decision(allowed=MASTERS in attributes.user.groups)


class AuthorizerChain:
    """Asks its members in turn."""

    def __init__(self, members: Sequence[Authorizer]) -> None:
        self.members = tuple(members)
        self.asks_others = any(isinstance(member, Preparing) for member in members)

    async def prepare(self, attributes: Attributes) -> None:
        """Let members that ask others do so, where those before them have no opinion.

        Raises:
            UnansweredError: one of them gets no answer, and nobody after it has an opinion or
                may have one.

        """
        if not self.asks_others:
            return
        failure: UnansweredError | None = None
        for member in self.members:
            if isinstance(member, Preparing):
                try:
                    await member.prepare(attributes)
                except UnansweredError as error:
                    if error.denies:
                        raise
                    failure = failure or error
            decision = member.authorize(attributes)
            if decision.allowed or decision.denied:
                return
        if failure is not None:
            raise failure

    def authorize(self, attributes: Attributes) -> Decision:
        """Return the first opinion; without any, all reasons, one a line."""
        reasons = []
        for member in self.members:
            decision = member.authorize(attributes)
            if decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(allowed=False, reason="\n".join(reasons)) if reasons else NO_OPINION
