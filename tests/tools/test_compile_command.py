"""tools/compile_for_tpu.py, as a user starts it."""

import os
import subprocess
import sys

import pytest
from support import tpu_compiler  # noqa: F401
from support.paths import ROOT
from tpu_compiler.compiler import VERSIONS

TOOL = ROOT / "tools" / "compile_for_tpu.py"


class TestCommand:
    """Its errors, in one line each."""

    def run(self, *options, **environment):
        process = subprocess.run(
            [sys.executable, TOOL, *options],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )
        return process.returncode, process.stderr.strip().splitlines()[-1]

    @pytest.mark.slow(reason="programs run in processes of their own")
    def test_no_compiler(self):
        status, line = self.run("--python=/no/python")
        assert status == 1
        assert line.startswith("error: /no/python cannot be started")

    @pytest.mark.slow(reason="programs run in processes of their own")
    @pytest.mark.parametrize(
        ("option", "said"),
        [
            ("--config.data.name=./pets", "the number of examples of './pets' is not known here"),
            ("--batch=256,many", "--batch is 256,many: expected whole numbers"),
            ("--config.batch=1", "unknown config key 'batch': choose one of batch_size"),
        ],
    )
    def test_bad_input(self, option, said):
        status, line = self.run(option, f"--python={sys.executable}")
        assert status == 1
        assert line.startswith(f"error: {said}")

    def test_the_environment_is_the_extra(self):
        versions = ", ".join(f'"{version}"' for version in VERSIONS)
        assert f'"tpu-compiler": [{versions}]' in (ROOT / "setup.py").read_text()
