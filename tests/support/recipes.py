"""The recipes, by name, and how many examples each trains on."""

import runpy
import sys

from absl import flags
from ml_collections import config_flags
from support.paths import ROOT

CONFIGS = ROOT / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.py"))
TRAIN_EXAMPLES = {
    "imagenet": 1_281_167,
    "imagenet_pytorch": 1_281_167,
    "imagenet_vit_small": 1_281_167,
    "imagenet100": 126_689,
    "cifar10": 50_000,
    "cifar100": 50_000,
    "cifar10_small": 50_000,
    # What of them the authors of FastCLIP could still download.
    "cc3m_fastclip": 2_723_840,
    "cc12m_fastclip": 9_187_328,
}


def of(name):
    """(config, docstring) of a recipe."""
    file = runpy.run_path(str(CONFIGS / f"{name}.py"))
    return file["get_config"](), file["__doc__"]


def parsed(name, *arguments, monkeypatch):
    """The config that the command gets from its arguments."""
    arguments = ["run", f"--config={CONFIGS / name}.py", *arguments]
    # ml_collections looks for overrides there, not in what absl parses.
    monkeypatch.setattr(sys, "argv", arguments)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    values(arguments)
    return values.config
