"""From a config to the parts that both kinds of run are made of."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.policies import Policy
from sogclr_tf.data.stream import Stream
from sogclr_tf.data.view_size import height_and_width
from sogclr_tf.experiment.config import default_config, has_texts
from sogclr_tf.experiment.encoder_settings import NO_OPTIONS
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.losses.registry import build_loss, loss_options, losses_for
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.models.online_probe import OnlineProbe
from sogclr_tf.models.sogclr import SogCLR
from sogclr_tf.models.two_tower import TwoTowerSogCLR
from sogclr_tf.models.unit_range import expects_255
from sogclr_tf.networks.encoders import build_encoder
from sogclr_tf.networks.projection_head import linear_projector, projection_head
from sogclr_tf.networks.subwords import SubwordTokenizer
from sogclr_tf.networks.text_encoder import TextEncoder
from sogclr_tf.networks.words import vocabulary
from sogclr_tf.training.optimizers import build_optimizer
from sogclr_tf.training.schedules import scaled_learning_rate, warmup_cosine
from sogclr_tf.training.strategy import has_accelerator, jit_compile

_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def set_precision(policy: str) -> None:
    """Makes layers from here on compute in a precision.

    Raises:
        ValueError: it is unknown.
    """
    if policy not in _PRECISIONS:
        raise ValueError(f"unknown precision '{policy}': choose one of {', '.join(_PRECISIONS)}")
    keras.mixed_precision.set_dtype_policy(policy)


def policies(config: ConfigDict) -> tuple[Policy, Policy]:
    """How view a and view b are drawn."""
    policy = Policy(size=config.data.image_size, **config.augment)
    of_b = {key: value for key, value in config.augment_b.items() if value is not None}
    return policy, dataclasses.replace(policy, **of_b)


def finish(config: ConfigDict) -> str:
    """Where views are finished, "host" or "device"; for "auto" where there is an accelerator."""
    if config.data.finish != "auto":
        return config.data.finish
    return "device" if has_accelerator() else "host"


def encoder(config: ConfigDict) -> keras.Model:
    """A new image encoder; the same weights for the same seed."""
    keras.utils.set_random_seed(config.seed)
    return encoder_like(config, config.encoder.to_dict(), config.data.channels)


def encoder_like(config: ConfigDict, settings: dict, channels: int) -> keras.Model:
    """A new image encoder of other settings, for the image size of a config.

    Args:
        config: the run's.
        settings: as `config.encoder`, a dictionary; what is None there is left to its default.
        channels: of an image.

    Raises:
        ValueError: there is no such encoder, or it is no function of images in 0..1.
    """
    name = settings["name"]
    options = {
        key: value for key, value in settings.items() if key not in NO_OPTIONS and value is not None
    }
    size = height_and_width(config.data.image_size)
    built = build_encoder(name, (*size, channels), **options)
    if expects_255(built):
        raise ValueError(
            f"encoder {name!r} rescales pixels of 0..255 by itself, but is fed 0..1: let it begin "
            "with keras.layers.Rescaling(255.0)"
        )
    return built


def loss(config: ConfigDict, stream: Stream) -> ContrastiveLoss:
    """The loss that `config.loss` names, with those of its keys that the loss takes.

    Raises:
        ValueError: the name is unknown, the loss contrasts something else, or there is a key that
            it and the schema lack.
    """
    options = config.loss.to_dict()
    name = options.pop("name")
    taken = loss_options(name)
    sides = "pairs" if has_texts(config) else "views"
    if name not in losses_for(sides):
        raise ValueError(
            f"loss '{name}' does not contrast {sides}: choose one of {', '.join(losses_for(sides))}"
        )
    unknown = sorted({*options} - {*default_config().loss, *taken})
    if unknown:
        raise ValueError(f"loss '{name}' has no option '{unknown[0]}': it takes {', '.join(taken)}")
    # A config speaks of shares of training, a loss of steps.
    steps = config.epochs * stream.steps_per_epoch
    options["gamma_decay_steps"] = round(options.pop("gamma_decay") * steps)
    chosen = {key: options[key] for key in taken if key in options}
    return build_loss(name, stream.num_examples, getattr(stream, "num_captions", None), **chosen)


def image_model(config: ConfigDict, stream: Stream, classes: int | None) -> SogCLR:
    """A new model of images, not compiled.

    Args:
        config: the run's.
        stream: the training stream.
        classes: of the linear probe that learns beside it; None for no probe.
    """
    new = encoder(config)
    projector = projection_head(new.output_shape[-1], **config.projector)
    probe = OnlineProbe(classes, config.monitor.probe_rate) if classes else None
    return SogCLR(new, loss(config, stream), projector, probe, chunks=config.chunks)


def text_vocabulary(
    config: ConfigDict, texts: Callable[[], Sequence[str]]
) -> list[str] | SubwordTokenizer:
    """The words or subwords that `config.text_encoder` asks for.

    Args:
        config: the run's.
        texts: gives those of the training set, which a file of merges does not need.

    Raises:
        ValueError: there is no such tokenizer, or the texts or the file give none.
        ImportError: subwords are to be trained without the package that does it.
    """
    name, max_tokens = config.text_encoder.tokenizer, config.text_encoder.max_tokens
    if name == "words":
        return vocabulary(texts(), max_tokens)
    if name == "bpe":
        return SubwordTokenizer.train(texts(), max_tokens)
    if not tf.io.gfile.exists(name):
        raise ValueError(
            f"text_encoder.tokenizer is '{name}', which is no file: choose words, bpe, or the path "
            "of a file of merges"
        )
    return SubwordTokenizer.load(name, max_tokens)


def image_text_model(
    config: ConfigDict, pairs: Stream, words: list[str] | SubwordTokenizer
) -> TwoTowerSogCLR:
    """A new model of images with texts, not compiled.

    Args:
        config: the run's.
        pairs: the training stream.
        words: the vocabulary, as `text_vocabulary` has it.
    """
    options = {**config.text_encoder}
    del options["tokenizer"], options["max_tokens"]
    projectors = {
        name: linear_projector(config.projector.output, name)
        for name in ("image_projector", "text_projector")
    }
    return TwoTowerSogCLR(
        encoder(config),
        TextEncoder(words, **options),
        loss(config, pairs),
        chunks=config.chunks,
        **projectors,
    )


def compile_model(
    config: ConfigDict, model: ContrastiveModel, stream: Stream, strategy: tf.distribute.Strategy
) -> None:
    """Gives a model the optimizer and the way to run that the config says.

    Raises:
        ValueError: a value is out of its range, or the whole of training is not one update.
    """
    settings = config.optimizer
    accumulated = settings.gradient_accumulation_steps
    rate = scaled_learning_rate(
        settings.learning_rate, config.batch_size * accumulated, settings.scaling
    )
    steps = config.epochs * stream.steps_per_epoch
    if steps < accumulated:
        raise ValueError(
            f"optimizer.gradient_accumulation_steps is {accumulated}, but all {config.epochs} "
            f"epochs have {steps} batches, so that the weights would never be updated: "
            "accumulate fewer, or train longer"
        )
    schedule = warmup_cosine(
        rate,
        total_steps=steps // accumulated,
        warmup_steps=int(settings.warmup_epochs * stream.steps_per_epoch / accumulated),
        gradient_accumulation_steps=accumulated,
    )
    model.compile(
        optimizer=build_optimizer(
            settings.name,
            schedule,
            settings.weight_decay,
            ema=settings.ema,
            gradient_accumulation_steps=accumulated,
        ),
        steps_per_execution=config.steps_per_execution,
        jit_compile=jit_compile(strategy),
    )
