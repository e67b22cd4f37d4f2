"""Processes that take turns when they are told to: `benchmarks.turns`, from the other side."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from benchmarks.peers.environments import PeerMissingError, last_line, without_paths

TOOLS = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def working(python, module, function, arguments):
    """A `Worker` that is ready to take turns; it ends with the context.

    Args:
        python: the interpreter; one of another environment sees of ours the tools alone.
        module, function, arguments: what `benchmarks.turns` is to call.

    Raises:
        PeerMissingError: it did not come to the point; with the last line of what it wrote.
    """
    paths = [TOOLS]
    if str(python) == sys.executable:
        paths += [TOOLS.parent, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    command = [python, "-m", "benchmarks.turns", module, function, json.dumps(arguments)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            env=without_paths(*paths),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        try:
            yield Worker(process, said)
        finally:
            process.kill()
            process.communicate()


class Worker:
    """A process that takes turns.

    Attributes:
        versions: dict of str, the packages of `report.PACKAGES` that it has.
    """

    def __init__(self, process, said):
        self._process, self._said = process, said
        self.versions = self._answer()["versions"]

    def turn(self, seconds):
        """Seconds of an image, over a turn of at least `seconds`; raises PeerMissingError."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        return self._answer()["seconds"]

    def _answer(self):
        if line := self._process.stdout.readline():
            return json.loads(line)
        status = self._process.wait()
        self._said.seek(0)
        raise PeerMissingError(f"ended with {status}: {last_line(self._said.read())}")
