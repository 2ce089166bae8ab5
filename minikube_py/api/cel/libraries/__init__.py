"""The functions that expressions may call, a library a file; the list of all stands here."""

from typing import Final

from minikube_py.api.cel.functions import Functions, index
from minikube_py.api.cel.libraries import (
    addresses,
    arithmetic,
    authorizer,
    comparison,
    conversions,
    encoders,
    formats,
    lists,
    maths,
    optionals,
    patches,
    quantities,
    regex,
    semvers,
    sets,
    strings,
    timestamps,
    urls,
)

KUBERNETES: Final[Functions] = index(
    (
        *arithmetic.OVERLOADS,
        *comparison.OVERLOADS,
        *conversions.OVERLOADS,
        *timestamps.OVERLOADS,
        *optionals.OVERLOADS,
        *strings.OVERLOADS,
        *regex.OVERLOADS,
        *lists.OVERLOADS,
        *sets.OVERLOADS,
        *urls.OVERLOADS,
        *quantities.OVERLOADS,
        *addresses.OVERLOADS,
        *formats.OVERLOADS,
        *semvers.OVERLOADS,
        *authorizer.OVERLOADS,
    )
)
"""Everything a kube-apiserver of v1.36 offers to expressions."""
PATCHES: Final[Functions] = {**KUBERNETES, **index(patches.OVERLOADS)}
"""What expressions that give changes may call beside that."""
ALL: Final[Functions] = {
    **KUBERNETES,
    **index((*maths.OVERLOADS, *encoders.OVERLOADS, *strings.NEWER)),
}
"""The extensions of the language that others offer, too: the engine is tested with all of them."""
