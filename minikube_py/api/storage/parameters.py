"""Parameters that a class hands to its driver."""

from collections.abc import Iterator, Mapping

from minikube_py.api.fields import Field, FieldError

COUNT_MAX = 512
BYTES_MAX = 256 * 1024


def validate_parameters(
    parameters: Mapping[str, str], field: Field, *, needed: bool = False
) -> Iterator[FieldError]:
    """Report parameters that are too many or too large, or none where some are needed."""
    if len(parameters) > COUNT_MAX:
        yield field.too_long(COUNT_MAX)
        return
    for key in parameters:
        if not key:
            yield field.invalid(key, "field can not be empty")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items())
    if size > BYTES_MAX:
        yield field.too_long(BYTES_MAX)
    if needed and not parameters:
        yield field.required("must contain at least one key/value pair")
