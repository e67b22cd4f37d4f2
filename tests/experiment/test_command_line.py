"""The flag --config: from a name to a file."""

import pytest

from sogclr_tf.experiment import command_line
from sogclr_tf.experiment.config import config_of_file, recipe_path


@pytest.mark.parametrize(
    "name", ["cifar10", "cifar10.py", "configs/cifar10.py", "elsewhere/cifar10"]
)
@pytest.mark.parametrize("form", ["--config={}", "-config={}", "--config {}"])
def test_a_recipe_is_found_by_its_name_in_any_folder(name, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # No config, though it is called so.
    (tmp_path / "cifar10").mkdir()
    argv = ["run", "--mode=train", *form.format(name).split(" "), "--config.seed=3"]
    found = command_line.recipe_of(argv)
    assert found.to_dict() == config_of_file(recipe_path("cifar10.py")).to_dict()


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10.py").write_text(
        "from sogclr_tf.experiment.config import default_config\n\n\n"
        "def get_config():\n    config = default_config()\n    config.seed = 7\n    return config\n"
    )
    assert command_line.recipe_of(["run", "--config=cifar10.py"]).seed == 7


def test_a_wrong_name_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no config 'cifar11': .* own, or .*configs/cifar10\.py"):
        command_line.recipe_of(["run", "--config=cifar11"])
