"""3: who may come as a user, and what is written down of it."""

from minikube_py.cli.benchmark.machine import Item, Machine, Result, judged, owners


def _policy(machine: Machine) -> Result:
    given = machine.server.audit_policy_file
    if machine.server.audit_log_path == "none":
        return judged(good=False, why="--audit-log-path is none")
    return judged(good=True, why=given or "the policy of kpy: changes, and reads of secrets")


ITEMS = (
    Item(
        "3.1.1",
        "Users do not come by client certificate",
        owners("certificates cannot be revoked; give users an issuer (--authentication-config)"),
    ),
    Item("3.1.2", "Users do not come by service account", owners("see who holds their tokens")),
    Item("3.1.3", "Users do not come by bootstrap token", owners("such tokens end by themselves")),
    Item("3.2.1", "There is an audit policy", _policy),
    Item("3.2.2", "It covers what matters", _policy),
)
