"""Size limits: a file has at most 500 lines, a function at most 60.

    python .ci/sizes.py minikube_py tests

Prints what is over and ends with status 1 where anything is. Generated code does not count.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
GENERATED = ("_pb2.py", "_pb2_grpc.py")


def oversized(path: Path) -> Iterator[str]:
    """Yield what is too large in one file."""
    text = path.read_text()
    lines = text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{path}: {lines} lines, at most {FILE_LINES_MAX}"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES_MAX:
            where = f"{path}:{node.lineno} {node.name}"
            yield f"{where}: {length} lines, at most {FUNCTION_LINES_MAX}"


def main(folders: list[str]) -> int:
    """Check all Python files of the folders; return the exit status."""
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    found = [
        text for path in files if not path.name.endswith(GENERATED) for text in oversized(path)
    ]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
