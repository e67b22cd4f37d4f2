"""The compiler of TPUs, asked from TensorFlow's process."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any, Self

from tpu_compiler.program import Program

_PROCESS = pathlib.Path(__file__).with_name("jax_process.py")
# Where the documentation says to make the environment.
_ENVIRONMENT = pathlib.Path(__file__).parents[2] / ".venv-tpu-compiler"
VERSIONS = ("jax==0.10.2", "libtpu==0.0.52")


class CompilerMissingError(OSError):
    """There is no Python with jax and libtpu, or it does not start."""


class RefusedError(ValueError):
    """The compiler's own words on a program that it does not take."""


class Compiler:
    """A process with JAX and libtpu, in which programs are compiled one after the other.

        with Compiler() as compiler:
            answer = compiler.compile(program, "v5e:2x4", cores=8)

    Args:
        python: the interpreter of an environment with both; by default that of
            `.venv-tpu-compiler` in this checkout, or this one.

    Raises:
        CompilerMissingError: there is none.
    """

    def __init__(self, python: str | os.PathLike | None = None) -> None:
        python = python or find_python()
        self._folder = tempfile.TemporaryDirectory()
        self._log = open(self._file("log"), "w+")  # noqa: SIM115
        # Of TensorFlow's environment, which this one must not see.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        try:
            self._process = subprocess.Popen(
                [python, _PROCESS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment,
            )
        except OSError as error:
            raise CompilerMissingError(f"{python} cannot be started: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def topology(self, name: str) -> dict[str, Any]:
        """{"cores": how many, "chip": its name} of a topology such as "v5e:2x4".

        Raises:
            RefusedError: there is no such topology.
        """
        return self._ask(do="cores", topology=name)

    def compile(self, program: Program, topology: str, cores: int) -> dict[str, Any]:
        """Compiles a program for so many cores of a topology.

        Returns:
            {"seconds": of compiling, "memory": {what: bytes of a core}}, with "flops" of a core and
            "text", the program as it is run; or with "unreadable", why it cannot be looked into.

        Raises:
            RefusedError: the compiler does not take it, or it does not fit.
        """
        hlo, optimized = self._file("program.hlo"), self._file("optimized.txt")
        hlo.write_bytes(program.hlo)
        answer = self._ask(
            do="compile",
            topology=topology,
            replicas=cores,
            hlo=str(hlo),
            optimized=str(optimized),
        )
        return answer if "unreadable" in answer else {**answer, "text": optimized.read_text()}

    def run(self, program: Program, replicas: int, **files: os.PathLike) -> None:
        """Runs a program on this machine's CPU: the files are as `jax_process.run_on_cpu` says."""
        hlo = self._file("program.hlo")
        hlo.write_bytes(program.hlo)
        paths = {name: str(path) for name, path in files.items()}
        self._ask(do="run", hlo=str(hlo), replicas=replicas, **paths)

    def _ask(self, **request):
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise CompilerMissingError(
                f"the process with jax and libtpu has ended: {self._last_words()}"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer

    def _last_words(self):
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return lines[-1] if lines else f"exit status {self._process.wait()}"

    def _file(self, name):
        return pathlib.Path(self._folder.name, name)


def find_python() -> pathlib.Path:
    """The interpreter of an environment that holds the compiler.

    Raises:
        CompilerMissingError: there is none, with the command that makes one.
    """
    own = _ENVIRONMENT / "bin" / "python"
    if own.exists():
        return own
    if all(importlib.util.find_spec(name) for name in ("jax", "libtpu")):
        return pathlib.Path(sys.executable)
    raise CompilerMissingError(
        "the TPU's compiler is not installed: python3 -m venv .venv-tpu-compiler && "
        f".venv-tpu-compiler/bin/pip install {' '.join(VERSIONS)}"
    )
