"""Who may do what: RBAC, the Node authoriser, and the chain that asks them in turn."""
