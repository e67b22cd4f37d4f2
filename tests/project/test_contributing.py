"""What CONTRIBUTING.md walks through: a loss and a source of one's own, from outside."""

import re

import pytest
from support import processes
from support.command import SMALL
from support.paths import ROOT

from sogclr_tf.experiment.folder import RunFolder

PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def example(call):
    """The Python block of the page that holds a call."""
    blocks = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if call in block]
    assert len(blocks) == 1, call
    return blocks[0]


@pytest.fixture
def config(tmp_path):
    """A config file that imports both examples, which lie beside it."""
    (tmp_path / "own_loss.py").write_text(example("register_loss("))
    (tmp_path / "own_source.py").write_text(example("register_source("))
    path = tmp_path / "own.py"
    path.write_text(
        "import pathlib, sys\n"
        "sys.path.insert(0, str(pathlib.Path(__file__).parent))\n"
        f"recipe = {str(ROOT / 'configs' / 'digits.py')!r}\n"
        "import runpy\n"
        "def get_config():\n"
        "    import own_loss, own_source\n"
        "    return runpy.run_path(recipe)['get_config']()\n"
    )
    return path


@pytest.mark.slow(reason="a run of the command")
def test_a_loss_and_a_source_from_outside_train_by_name(config, tmp_path):
    loss = re.search(r'register_loss\("(\w+)"\)', PAGE)[1]
    source = re.search(r'register_source\("(\w+)"', PAGE)[1]
    process = processes.run(
        *("-m", "sogclr_tf.run", f"--config={config}", "--mode=train", *SMALL),
        *(f"--config.loss.name={loss}", f"--config.data.name={source}"),
        *("--config.batch_size=16", "--config.epochs=1"),
        cwd=tmp_path,
    )
    assert process.returncode == 0, process.stderr
    history = RunFolder(tmp_path / "runs" / "own").history()
    assert len(history["loss"]) == 1
    assert all(-1e6 < loss < 1e6 for loss in history["loss"])
