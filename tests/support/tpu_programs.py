"""Steps of small recipes, lowered for a TPU and measured by its compiler."""

from support import tpu_compiler  # noqa: F401
from tpu_compiler import figures, program, recipe

from sogclr_tf.experiment.config import config_of_file, recipe_path

CORES, TOPOLOGY = 8, "v5e:2x4"
EXAMPLES, CLASSES = 10_000, 10
SMALL = {"name": "small_resnet", "widths": (12,), "stem_stride": 2}


def config_of(name="imagenet.py", loss="sogclr", optimizer="lars", batch_size=16):
    """A recipe of a small network and images."""
    config = config_of_file(recipe_path(name))
    config.data.image_size = 16
    config.batch_size = batch_size
    config.encoder = type(config)(SMALL)
    config.loss.name = loss
    config.optimizer.name = optimizer
    if optimizer == "adam":  # which has no decay
        config.optimizer.weight_decay = 0.0
    return config


def lowered(config, kind="train", cores=CORES):
    """(model, its program) of a config."""
    model = recipe.model_of(config, EXAMPLES, CLASSES)
    step, share = recipe.step_of(config, model, kind, cores)
    return model, program.lower(step, share, recipe.variables_of(model), cores)


def measured(compiler, config, kind="train", cores=CORES):
    model, its_program = lowered(config, kind, cores)
    found = figures.measure(compiler, its_program, model, config, TOPOLOGY, cores)
    assert "error" not in found, found["error"]
    return found


def assert_in_place(found):
    state = found["state"]
    assert state["updated"] > 40
    assert state["in_place"] == state["updated"]
    assert state["table_copies"] == 0
    # What is not the batch is overwritten, but for padding and the logs.
    assert found["memory"]["aliased"] >= 0.99 * found["memory"]["outputs"]
