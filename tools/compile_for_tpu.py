"""Compiles the step of a config for TPUs that are not there, by the TPU's own compiler.

    python3 -m venv .venv-tpu-compiler
    .venv-tpu-compiler/bin/pip install "jax==0.10.2" "libtpu==0.0.52"
    python tools/compile_for_tpu.py --config=configs/imagenet.py --topology=v5e:2x4 \\
        --config.precision=mixed_bfloat16

The model is the command's, without its data. One core's step is lowered with its exchanges and
compiled for every core of the topology (v5e:2x4 are eight). Printed are whether it compiles; the
memory of a core (HBM) beside the chip's; whether every table and every slot of the optimizer is
updated in place; what crosses cores, before and after the compiler combined it; and the
floating-point operations. Nothing is run.

With --batch=256,512,1024 it finds the largest that fits. With --step=test it is the step of
`evaluate`, with --step=features the forward pass of evaluation on one core. --json keeps all
figures, --page writes the tables into docs/tpu.md.
"""

import json
import os
import pathlib
import sys
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags
from benchmarks.report import write_page

from sogclr_tf.experiment import command_line
from sogclr_tf.experiment import config as configs

# The recipe where no config is named.
DEFAULT = "imagenet.py"
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "tpu.md"

_CONFIG = command_line.define_config("configs/imagenet.py by default.")
_TOPOLOGY = flags.DEFINE_list("topology", ["v5e:2x4"], "One or more, such as v5e:2x4,v4:2x2x1.")
_BATCH = flags.DEFINE_list("batch", [], "Global batches to try; by default the config's own.")
_EXAMPLES = flags.DEFINE_float("examples", None, "N; by default that of the config's data set.")
_CLASSES = flags.DEFINE_integer("classes", None, "Of the online probe; by default likewise.")
_STEP = flags.DEFINE_enum("step", "train", ("train", "test", "features"), "Which program.")
_UTILIZATION = flags.DEFINE_float("utilization", 0.4, "Of the chip's peak, for the estimate.", 0, 1)
_JSON = flags.DEFINE_string("json", None, "A file to write the figures to.")
_PAGE = flags.DEFINE_string("page", None, "Place in docs/tpu.md to write the tables to.")
_PYTHON = flags.DEFINE_string("python", None, "Interpreter with jax and libtpu.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise ValueError(f"'{argv[1]}' is no flag: several batches are --batch=256,512")
    config = _CONFIG.value
    configs.check_config(config)
    from tpu_compiler import report

    from sogclr_tf.experiment.encoder_settings import settle_encoder

    recipe = command_line.recipe_of(sys.argv, DEFAULT)
    settle_encoder(config, recipe, command_line.given_keys(sys.argv))

    found = []
    for one in compiled(config):
        found.append(one)
        print(f"{one['topology']}, batch {one['batch']}: done", file=sys.stderr, flush=True)
        if _JSON.value:
            # Each may take minutes: what was found is kept.
            pathlib.Path(_JSON.value).write_text(json.dumps(found, indent=1))
    tables = report.tables(found, _UTILIZATION.value)
    print(tables)
    for one in found:
        if "error" in one:
            print(f"\n{one['topology']}, batch {one['batch']}: the compiler says:\n{one['error']}")
    if _PAGE.value:
        write_page(PAGE, _PAGE.value, tables)
    if not any(map(report.fits, found)):
        sys.exit(1)


def compiled(config) -> Iterator[dict]:
    """The figures of every batch on every topology, the smallest batch first."""
    import keras
    from tpu_compiler import figures, program, recipe
    from tpu_compiler.chips import chip_of
    from tpu_compiler.compiler import Compiler

    examples, classes = recipe.size_of(config, _EXAMPLES.value, _CLASSES.value)
    sizes = batches(config)
    with Compiler(_PYTHON.value) as compiler:
        for topology in _TOPOLOGY.value:
            chip_of(topology)
            cores = 1 if _STEP.value == "features" else compiler.topology(topology)["cores"]
            for batch in sizes:
                config.batch_size = batch
                keras.utils.clear_session()
                model = recipe.model_of(config, examples, classes)
                step, share = recipe.step_of(config, model, _STEP.value, cores)
                lowered = program.lower(step, share, recipe.variables_of(model), cores)
                one = figures.measure(compiler, lowered, model, config, topology, cores)
                asked = {"step": _STEP.value, "examples": examples, "config": config.to_dict()}
                yield {**asked, **one}


def batches(config) -> list[int]:
    """The global batches to compile for, the smallest first."""
    given = _BATCH.value or [str(config.batch_size)]
    if not all(batch.isdecimal() and int(batch) > 1 for batch in given):
        raise ValueError(f"--batch is {','.join(given)}: expected whole numbers from 2 on")
    return sorted(map(int, given))


def parse(argv: list[str]) -> list[str]:
    """The command's own parsing, with ImageNet's recipe where no config is named."""
    return command_line.parse_flags(argv, DEFAULT)


if __name__ == "__main__":
    try:
        app.run(main, flags_parser=parse)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
