"""The audit log: who asked for what, when, and what became of it.

    request --policy--> level --record--> events --sink--> file, rotated

`policy` decides purely how much is kept of a request; `record` gathers it on the way; `event`
gives it upstream's form; `sink` hands it to a file off the event loop. See docs/decisions on why
it is on by default and what the default policy keeps.
"""
