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
    quantities,
    regex,
    semvers,
    sets,
    strings,
    timestamps,
    urls,
)

ALL: Final[Functions] = index(
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
        *maths.OVERLOADS,
        *encoders.OVERLOADS,
        *urls.OVERLOADS,
        *quantities.OVERLOADS,
        *addresses.OVERLOADS,
        *formats.OVERLOADS,
        *semvers.OVERLOADS,
        *authorizer.OVERLOADS,
    )
)
"""Everything a kube-apiserver of v1.36 offers to expressions."""
