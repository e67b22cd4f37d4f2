"""Another encoder than the recipe's: its options, from the command line to the config."""

import logging
import sys

import pytest
from absl import flags
from ml_collections import ConfigDict
from support.command import command

from sogclr_tf.experiment import command_line
from sogclr_tf.experiment.config import check_config, config_of_file, recipe_path
from sogclr_tf.experiment.encoder_settings import settle_encoder


@pytest.fixture
def parsed(monkeypatch):
    """Function of arguments: the config that the command makes of them."""

    def of(*arguments):
        argv = ["run", *arguments]
        # ml_collections looks for overrides there, not in what absl parses.
        monkeypatch.setattr(sys, "argv", argv)
        values = flags.FlagValues()
        monkeypatch.setattr(command_line.flags, "FLAGS", values)
        monkeypatch.setattr(command_line.app, "parse_flags_with_usage", values)
        command_line.define_config("", flag_values=values)
        command_line.parse_flags(argv)
        config = values.config
        check_config(config)
        settle_encoder(config, command_line.recipe_of(argv), command_line.given_keys(argv))
        return config

    return of


def options(config):
    """What of `config.encoder` is said."""
    return {key: value for key, value in config.encoder.items() if value not in (None, "")}


def test_the_name_alone(parsed, caplog):
    """What the recipe says of another encoder is left out; what both take stays."""
    with caplog.at_level(logging.INFO, "sogclr_tf"):
        config = parsed("--config.encoder.name=resnet18")
    assert options(config) == {"name": "resnet18"}
    assert caplog.messages == [
        "encoder 'resnet18' does not take blocks_per_stage=1, stem_stride=1, widths=(32, 64, 128), "
        "which the recipe has for small_resnet: left out"
    ]


@pytest.mark.parametrize(
    ("given", "value"),
    [("cifar", "cifar"), ("3", 3), ("(8,16)", (8, 16)), ("True", True), ("false", False)],
)
def test_values_of_options_that_the_recipe_lacks(parsed, monkeypatch, given, value):
    monkeypatch.setattr("sogclr_tf.experiment.encoder_settings.check_options", lambda *_: None)
    config = parsed("--config.encoder.name=resnet18", f"--config.encoder.stem={given}")
    assert options(config) == {"name": "resnet18", "stem": value}


def test_the_same_encoder_keeps_what_the_recipe_says(parsed):
    config = parsed("--config.encoder.name=small_resnet", "--config.encoder.normalization=group")
    recipe = config_of_file(recipe_path("digits.py"))
    assert options(config) == {**options(recipe), "normalization": "group"}


def test_what_both_take_stays():
    recipe = ConfigDict({"encoder": {"name": "resnet50", "stem": "cifar", "padding": "same"}})
    config = ConfigDict({"encoder": {**recipe.encoder, "name": "resnet18"}})
    settle_encoder(config, recipe, ["encoder.name"])
    assert config.encoder.to_dict() == {"name": "resnet18", "stem": "cifar", "padding": "same"}


def test_a_key_of_the_schema_is_emptied():
    recipe = ConfigDict({"encoder": {"name": "resnet50", "stem": "cifar", "padding": "same"}})
    config = ConfigDict({"encoder": {**recipe.encoder, "name": "small_resnet"}})
    settle_encoder(config, recipe, ["encoder.name"])
    assert config.encoder.to_dict() == {"name": "small_resnet", "padding": None}


def test_a_function_that_takes_anything_is_not_given_the_recipes_options():
    recipe = config_of_file(recipe_path("digits.py"))
    config = config_of_file(recipe_path("digits.py"))
    # A function of that kind is at hand in the standard library.
    config.encoder.name = "logging:basicConfig"
    settle_encoder(config, recipe, ["encoder.name"])
    assert options(config) == {"name": "logging:basicConfig"}


class TestOneClearLine:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--config.encoder.foo=1"], "encoder 'small_resnet' has no option foo; its options"),
            (
                ["--config.encoder.name=resnet18", "--config.encoder.widths=(8,)"],
                "encoder 'resnet18' has no option widths; its options are width_multiplier",
            ),
            (["--config.encoder.name=resnet19"], "'resnet19' is unknown, perhaps resnet18: choose"),
            (["--config.encoder.deep.er=1"], "unknown config key 'encoder.deep.er': choose one of"),
            (["--config.encoders.foo=1"], "unknown config key 'encoders.foo': choose one of augm"),
            (["--config.loss.gama=1"], "unknown config key 'loss.gama': choose one of loss.beta"),
        ],
    )
    def test_bad_argument(self, parsed, arguments, message):
        with pytest.raises(ValueError, match=message) as caught:
            parsed(*arguments)
        assert "\n" not in str(caught.value)


@pytest.mark.slow(reason="two processes of the command")
def test_of_the_command(tmp_path):
    """A function of one's own, from the folder where the command starts."""
    (tmp_path / "own_network.py").write_text(
        "import keras\n\n\n"
        "def rescales(input_shape, scale):\n"
        "    return keras.Sequential(\n"
        "        [\n"
        "            keras.Input(input_shape),\n"
        "            keras.layers.Rescaling(scale),\n"
        "            keras.layers.Conv2D(8, 3),\n"
        "            keras.layers.GlobalAveragePooling2D(),\n"
        "        ]\n"
        "    )\n"
    )
    name = "--config.encoder.name=own_network:rescales"
    process = command("--print_config", name, "--config.encoder.scale=2.0", cwd=tmp_path)
    assert "scale: 2.0" in process.stdout, process.stderr
    assert "widths" not in process.stdout
    process = command(name, f"--config.encoder.scale={1 / 255}", cwd=tmp_path)
    assert process.returncode == 1
    assert "own_network:rescales' rescales pixels of 0..255 by itself" in process.stderr
