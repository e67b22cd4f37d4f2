"""How TensorFlow is imported: without a search for garbage that there is not."""

import gc
import subprocess
import sys

import pytest

from sogclr_tf.experiment.environment import start_tensorflow


def test_what_others_have_made_is_still_looked_through():
    """This process has TensorFlow already."""
    frozen = gc.get_freeze_count()
    start_tensorflow()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


@pytest.mark.slow(reason="an import of TensorFlow in a process of its own")
@pytest.mark.parametrize("watched", [True, False])
def test_what_the_import_makes_is_looked_through_no_more(watched):
    probe = (
        "import gc\n"
        f"gc.{'enable' if watched else 'disable'}()\n"
        "from sogclr_tf.experiment.environment import start_tensorflow\n"
        "start_tensorflow()\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 100_000)"
    )
    process = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert process.stdout.split() == [str(watched)] * 2, process.stderr
