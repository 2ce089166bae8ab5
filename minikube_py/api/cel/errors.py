"""What goes wrong with an expression: it does not compile, it fails, or it costs too much."""

from typing import NamedTuple


class Issue(NamedTuple):
    """One complaint of the parser or the type checker; offset counts code points from 0."""

    offset: int
    message: str


class CelError(ValueError):
    """An expression does not compile; the text is upstream's, each issue with its place."""

    def __init__(self, text: str, issues: tuple[Issue, ...]) -> None:
        super().__init__("\n".join(_show(text, issue) for issue in issues))
        self.issues = issues


class CelEvaluationError(Exception):
    """An expression has no value, such as for want of a key."""

    spent = 0
    """Units that had been spent when it failed."""


class CelCostError(Exception):
    """An evaluation was stopped because it spent more than its budget."""

    spent = 0
    """Units that had been spent when it was stopped."""


class IssueError(Exception):
    """Leaves the parser with the issue that ends it; never leaves this package."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.issue = Issue(offset, message)


def _show(text: str, issue: Issue) -> str:
    before = text[: issue.offset]
    line = before.count("\n") + 1
    column = issue.offset - (before.rfind("\n") + 1)
    source = text.split("\n")[line - 1].replace("\t", " ")
    place = "." * column + "^"
    return f"ERROR: <input>:{line}:{column + 1}: {issue.message}\n | {source}\n | {place}"


def no_overload(function: str = "", *kinds: str) -> CelEvaluationError:
    """Return the error of a function that does not take such values."""
    shown = f": {function}({', '.join(kinds)})" if function else ""
    return CelEvaluationError(f"no such overload{shown}")
