"""The key `data.image_size`: a number or a tuple, on the command line and in a recipe."""

import sys

import pytest
from absl import flags
from ml_collections import config_flags
from support.paths import ROOT

from sogclr_tf.experiment import build
from sogclr_tf.experiment.config import check_config, default_config


def parsed(monkeypatch, *arguments):
    """The config of a command line with this project's digits."""
    arguments = ["run", f"--config={ROOT / 'configs' / 'digits.py'}", *arguments]
    monkeypatch.setattr(sys, "argv", arguments)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    values(arguments)
    return values.config


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (["--config.data.image_size=48"], (48, 48)),
        (["--config.data.image_size", "48"], (48, 48)),
        (["--config.data.image_size=(32,96)"], (32, 96)),
        (["--config.data.image_size", "(32, 96)"], (32, 96)),
        (["--config.data.image_size=32,96"], (32, 96)),
        (["--config.data.image_size=[32, 96]"], (32, 96)),
        (["--config.data.image_size=8", "--config.data.image_size=9,7"], (9, 7)),
        ([], (16, 16)),
    ],
)
def test_on_the_command_line(monkeypatch, arguments, want):
    config = parsed(monkeypatch, *arguments)
    check_config(config)
    assert [policy.image_size for policy in build.policies(config)] == [want] * 2


@pytest.mark.parametrize(
    "text",
    ["0", "-3", "2.5", "(0, 5)", "(8, -8)", "(1, 2, 3)", "(8,)", "()", "small", "None", "8x9", ""],
)
def test_nonsense(monkeypatch, text):
    config = parsed(monkeypatch, f"--config.data.image_size={text}")
    with pytest.raises(ValueError, match="^data.image_size is .*: expected a whole number of pix"):
        check_config(config)


@pytest.mark.parametrize("size", [(12, 20), [12, 20]])
def test_in_a_recipe(size):
    config = default_config()
    config.data.image_size = size
    config.encoder.name, config.encoder.widths = "small_resnet", (4,)
    check_config(config)
    assert build.encoder(config).input_shape == (None, 12, 20, 3)
    assert default_config().data.image_size == 32
