"""`python -m tests.bench [name ...]`: what operations cost the server, beside their budgets.

The server is a process of its own; its CPU time is read from /proc before and after each
measurement, all threads together. This process is the client and does not count. Figures of a
busy machine are upper bounds: contention makes the same work cost more.
"""

import argparse
import asyncio
import sys

import uvloop

from tests.bench import report, run


def main() -> int:
    """Measure and print; the exit status tells whether all budgets were kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="only measurements whose name has this in it")
    parser.add_argument("--scale", type=float, default=1.0, help="how many operations, 1 = usual")
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run.everything(options.names, options.scale))
    figures = [*result.figures, *result.large, *result.node, *result.network, *result.datastore]
    if result.stores:
        print(report.even(result.stores))  # noqa: T201
    print(report.table(figures), result.pace, sep="\n")  # noqa: T201
    if options.write:
        report.write(result)
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
