"""The real command, `python -m sogclr_tf.run`, as a process."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
import types


@contextlib.contextmanager
def running(*flags, begun=None, program=("-m", "sogclr_tf.run")):
    """The command's process and, as `workdir`, its folder; both gone at the end of the context.

    Args:
        *flags: of the command.
        begun: folder of a run to go on with, of which it is given a copy.
        program: what Python is to run, with the flags.
    """
    with tempfile.TemporaryDirectory() as workdir, open(f"{workdir}/said", "w+") as said:
        if begun:
            shutil.copytree(begun, f"{workdir}/run")
        process = subprocess.Popen(
            [sys.executable, *program, f"--workdir={workdir}/run", *flags],
            stdout=said,
            stderr=said,
        )
        try:
            yield types.SimpleNamespace(process=process, workdir=f"{workdir}/run", said=said)
        finally:
            process.kill()
            process.wait()


def wait(run, until=None):
    """Waits for the command to end well, or for `until()` to be true if that is given.

    Raises:
        RuntimeError: it failed; with what it wrote.
    """
    while not (until and until()):
        status = run.process.poll()
        if status is None:
            time.sleep(0.01)
            continue
        if status or until:
            run.said.seek(0)
            raise RuntimeError(f"the command ended with {status}:\n{run.said.read()}")
        return
