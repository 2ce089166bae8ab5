"""APIs that other servers answer for, as part of this one: upstream's kube-aggregator.

An APIService says which server answers for a group and version. `routes` finds the server of a
path, `forward` hands requests on, `availability` and `registration` keep the APIServices,
`discovery` and `openapi` merge what the servers say of themselves; `run` ties them together.
"""
