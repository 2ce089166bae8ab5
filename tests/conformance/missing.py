"""The requirements that no test of ours covers yet: a visible list, to be worked off."""

MISSING: tuple[str, ...] = ()
