"""API priority and fairness: which requests run now, which wait, which come back later.

    request --matching--> flow schema --> priority level --level--> seat, queue or 429

A level has a number of seats (`limits`) and fair queues in front of them (`level`). A flow, one
user or namespace of a schema, is dealt a hand of queues (`dealing`), so that a flow that floods
its own queues leaves most others alone. `control` holds it together; `upkeep` keeps the objects.
The rules are those of apiserver's `util/flowcontrol`.
"""
