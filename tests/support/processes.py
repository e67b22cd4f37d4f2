"""Python programs as processes of their own, forked from one that has imported TensorFlow.

A process has files, an environment, signals and an exit status of its own, as a fresh one has; it
is spared the imports, which cost more than most of what tests run. The process it is forked from
holds no TensorFlow context and no thread of it. What depends on the imports themselves, or on
variables that are read by them (KERAS_BACKEND, TF_CPP_MIN_LOG_LEVEL), needs a fresh interpreter.
"""

import atexit
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

_ROOT = pathlib.Path(__file__).parents[2]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("absl.app", "keras", "tensorflow", "tensorflow_datasets", "ml_collections.config_flags"),
        *(
            "sogclr_tf.experiment.main",
            "sklearn.linear_model",
            "sklearn.metrics",
            "sklearn.decomposition",
            "matplotlib.pyplot",
        ),
    ]
)


def run(*arguments, timeout=300, **options):
    """What `subprocess.run([sys.executable, *arguments])` gives, with its output as text."""
    process = Process(*arguments, **options)
    try:
        stdout, stderr = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


class Process:
    """Like `subprocess.Popen`: a program that runs, its output kept in files.

    Args:
        *arguments: those of Python: "-m" and a module, "-c" and a program, or a file; then its own.
        cwd: the folder to run in; by default this process's.
        env: the environment; by default this process's.
    """

    def __init__(self, *arguments, cwd=None, env=None):
        self.args = [str(argument) for argument in arguments]
        self._output = tempfile.TemporaryDirectory()
        self._paths = [pathlib.Path(self._output.name, name) for name in ("stdout", "stderr")]
        environment = dict(os.environ if env is None else env)
        self._process = _FORKS.Process(
            target=_become,
            args=(self.args, str(cwd or os.getcwd()), environment, self._paths),
            # What a test leaves behind must not keep the suite from its end.
            daemon=True,
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        """The exit status, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=None):
        """(stdout, stderr) when it has ended; raises subprocess.TimeoutExpired before that."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout, *map(_text, self._paths))
        return tuple(map(_text, self._paths))


def _text(path):
    return path.read_text() if path.exists() else ""


def _become(arguments, cwd, environment, outputs):
    """Makes the forked process what `python ARGUMENTS` would be, and runs the program."""
    for number, path in enumerate(outputs, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    try:
        _execute(*arguments)
    finally:
        # A forked process ends without them.
        atexit._run_exitfuncs()


def _execute(kind, *rest):
    # A user's program has no tests and no tools beside it.
    sys.path[:] = [path for path in sys.path if pathlib.Path(path).parent != _ROOT]
    if kind == "-m":
        sys.argv = list(rest)
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [kind, *rest]
        sys.path.insert(0, os.path.dirname(os.path.abspath(kind)))
        runpy.run_path(kind, run_name="__main__")
