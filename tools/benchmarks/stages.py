"""The stages of the command's start: a program that runs it and says when each ended.

    python tools/benchmarks/stages.py FILE FLAGS...

FLAGS are those of `python -m sogclr_tf.run`. The process ends when it has saved a step. FILE then
holds, as JSON, the seconds since the epoch at which each stage of `STAGES` ended.
"""

import functools
import importlib
import json
import os
import pathlib
import sys
import time

# What a stage is, and what ends it: the begin or the end of a function's first call.
STAGES = {
    "Python, flags and config": ("sogclr_tf.run", "start_tensorflow", "begin"),
    "import of TensorFlow and Keras": ("sogclr_tf.run", "start_tensorflow", "end"),
    "import of the package": ("sogclr_tf.experiment.main", "run", "begin"),
    "data and checks": ("sogclr_tf.experiment.image_task", "ImageTask.compiled_model", "begin"),
    "model": ("sogclr_tf.experiment.image_task", "ImageTask.compiled_model", "end"),
    "checkpoints": ("sogclr_tf.training.checkpoint", "Checkpoints.restore", "end"),
    "callbacks": ("sogclr_tf.models.sogclr", "SogCLR.fit", "begin"),
    "training stream": ("sogclr_tf.models.stream_start", "StreamStart.on_train_begin", "end"),
    "iterator": ("sogclr_tf.models.sogclr", "SogCLR.train_step", "begin"),
    "step, traced": ("sogclr_tf.models.sogclr", "SogCLR.train_step", "end"),
    "graph, first batch and step": ("sogclr_tf.training.checkpoint", "Checkpoints.save", "begin"),
    "saving": ("sogclr_tf.training.checkpoint", "Checkpoints.save", "end"),
}
_LAST = list(STAGES)[-1]
_ended = {}


def main(file, *flags):
    from sogclr_tf import run

    _watch(file, "sogclr_tf.run", "start_tensorflow")
    start_tensorflow = run.start_tensorflow

    def starting(*arguments):
        start_tensorflow(*arguments)
        functions = {(module, name) for module, name, _ in STAGES.values()}
        for module, name in functions - {("sogclr_tf.run", "start_tensorflow")}:
            _watch(file, module, name)

    run.start_tensorflow = starting
    sys.argv = ["run", *flags]
    run._run()


def _watch(file, module, name):
    """Notes the begin and the end of a function's calls, as far as they end stages."""
    *path, name_in_owner = name.split(".")
    owner = functools.reduce(getattr, path, importlib.import_module(module))
    function = getattr(owner, name_in_owner)

    @functools.wraps(function)
    def watched(*args, **kwargs):
        _note(file, (module, name, "begin"))
        result = function(*args, **kwargs)
        _note(file, (module, name, "end"))
        return result

    setattr(owner, name_in_owner, watched)


def _note(file, event):
    for stage, ending in STAGES.items():
        if ending == event:
            _ended.setdefault(stage, time.time())
    if _LAST in _ended:
        pathlib.Path(file).write_text(json.dumps(_ended))
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
