"""The recipes: each takes two steps, and its docstring says what the config does."""

import math
import re
import types

import ml_collections
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close
from support.paths import ROOT
from support.recipes import CONFIGS, NAMES, TRAIN_EXAMPLES, of, parsed

import sogclr_tf
from sogclr_tf.data import policies
from sogclr_tf.experiment import build, image_task, image_text_task
from sogclr_tf.experiment.config import check_config, default_config, differences, has_texts
from sogclr_tf.experiment.config_keys import flat_keys

BATCH = 4
TRACED = pytest.mark.slow(reason="a step is traced anew for each recipe")


def sibling(name):
    """The recipe that a SimCLR recipe is compared with, and that of any other itself."""
    return name.removesuffix("_simclr")


OF_IMAGES = [name for name in NAMES if not has_texts(of(name)[0])]
OF_RESNET50 = [name for name in OF_IMAGES if of(name)[0].encoder.name == "resnet50"]


class TestSchema:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_flag_takes_the_type_of_the_value(self, name):
        """A whole number in a recipe would refuse 0.5 on the command line."""
        config, usual = of(name)[0], default_config()
        check_config(config)
        for section in ("augment", "loss", "optimizer"):
            for key, value in usual[section].items():
                # None leaves open what a recipe sets.
                assert value is None or type(config[section][key]) is type(value), key

    @pytest.mark.parametrize("name", NAMES)
    def test_a_recipe_states_what_differs(self, name):
        """And what it states is not the default, but for what a reader wants to see."""
        assert 0 < len(differences(of(name)[0])) < 45

    def test_a_key_that_nothing_reads(self):
        config = default_config()
        config.data.fold = 3
        with pytest.raises(
            ValueError, match="unknown key 'data.fold': choose one of data.channels, data.d"
        ):
            check_config(config)

    def test_a_place_where_views_cannot_be_finished(self):
        config = default_config()
        config.data.finish = "gpu"
        with pytest.raises(
            ValueError, match=r"^data.finish is 'gpu': expected auto, host or device"
        ):
            check_config(config)

    def test_a_processor_finishes_views_by_itself(self):
        config = default_config()
        assert config.data.finish == "auto"
        assert build.finish(config) == "host"
        config.data.finish = "device"
        assert build.finish(config) == "device"

    def test_a_key_that_is_missing(self):
        config = default_config()
        del config.data.name
        with pytest.raises(ValueError, match="lacks the key 'data.name': begin with .*default_co"):
            check_config(config)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"text_encoder.width": 32}, "'text_encoder.width', which a run of images does not"),
            (
                {"data.text": "caption", "monitor.bank": 3},
                "'monitor.bank', which a run of images a",
            ),
        ],
    )
    def test_a_key_of_the_other_kind_of_run(self, changes, message):
        config = default_config()
        config.update_from_flattened_dict(changes)
        with pytest.raises(ValueError, match=message):
            check_config(config)

    def test_a_key_that_the_loss_lacks(self):
        config = default_config()
        config.loss.gama = 0.5
        check_config(config)
        stream = types.SimpleNamespace(num_examples=4, steps_per_epoch=1)
        with pytest.raises(ValueError, match="loss 'sogclr' has no option 'gama': it takes temp"):
            build.loss(config, stream)

    def test_views_may_differ(self):
        """BYOL's pair, as docs/augmentation.md writes it; without keys of their own, equals."""
        page = (ROOT / "docs" / "augmentation.md").read_text()
        config, _ = of("imagenet")
        assert build.policies(config) == policies.simclr(224)
        keys = re.findall(r"--config\.(augment(?:_b)?\.\w+)=([\d.]+)", page)
        config.update_from_flattened_dict({key: float(value) for key, value in keys})
        assert build.policies(config) == policies.byol(224)


class TestDocstring:
    @pytest.mark.parametrize("name", NAMES)
    def test_has_the_command_the_result_and_the_cost(self, name):
        _, doc = of(name)
        command = "python -m sogclr_tf.run"
        if name != "digits":
            command += f" --config=configs/{name}.py"
        assert f"\n    {command}" in doc
        assert re.search(r"\d\d\.\d+?%|no figure", doc)
        assert re.search(r"minutes?|seconds|hours?|days|steps", doc)
        assert len(doc.splitlines()[0]) <= 97

    @pytest.mark.parametrize("name", OF_RESNET50)
    def test_has_the_linear_evaluation(self, name):
        config, doc = of(name)
        assert config.evaluation.linear == "sgd"
        assert config.evaluation.linear_epochs == 90
        assert "--mode=evaluate" in doc

    @pytest.mark.parametrize("name", [name for name in NAMES if sibling(name) in TRAIN_EXAMPLES])
    def test_counts_the_steps(self, name):
        config, doc = of(name)
        steps = TRAIN_EXAMPLES[sibling(name)] // config.batch_size * config.epochs
        for said in re.findall(r"([\d,]+)\s+steps", doc):
            assert said == f"{steps:,}"

    @pytest.mark.parametrize("name", NAMES)
    def test_files_and_keys_exist(self, name):
        config, doc = of(name)
        for file in re.findall(r"(?:configs|tools|docs)/\w+\.\w+", doc):
            assert (CONFIGS.parent / file).exists(), file
        known = set(flat_keys(config))
        assert set(re.findall(r"--config\.([\w.]+)", doc)) <= known


class TestConfig:
    @pytest.mark.parametrize("name", NAMES)
    def test_is_read_by_the_flag(self, name, monkeypatch):
        config = parsed(name, "--config.seed=3", monkeypatch=monkeypatch)
        check_config(config)
        assert config.seed == 3

    @pytest.mark.parametrize("name", OF_IMAGES)
    def test_knn_is_left_out_by_an_empty_tuple(self, name, monkeypatch):
        argument = "--config.evaluation.knn_neighbors=()"
        assert parsed(name, argument, monkeypatch=monkeypatch).evaluation.knn_neighbors == ()

    @pytest.mark.parametrize("name", [name for name in NAMES if name != sibling(name)])
    def test_simclr_differs_in_the_loss_alone(self, name):
        config, other = of(name)[0].to_dict(), of(sibling(name))[0].to_dict()
        assert (config["loss"].pop("name"), other["loss"].pop("name")) == ("simclr", "sogclr")
        assert config == other

    @pytest.mark.parametrize("name", OF_IMAGES)
    def test_views_have_the_settings(self, name, monkeypatch):
        config, _ = of(name)
        shape = (config.batch_size, 8, 8, config.data.channels)
        source = sogclr_tf.ArraySource(np.zeros(shape, np.uint8))
        monkeypatch.setattr(image_task, "open_source", lambda *_: source)
        policy = image_task.ImageTask(config, "train").stream.policy_a
        assert policy.size == config.data.image_size
        for key, value in config.augment.items():
            assert getattr(policy, key) == value, key

    def test_cifar100_takes_a_resnet18(self, monkeypatch):
        config = parsed("cifar100", "--config.encoder.name=resnet18", monkeypatch=monkeypatch)
        assert build.encoder(config).output_shape == (None, 512)

    def test_cifar100_is_cifar10_with_another_name(self):
        config, other = of("cifar100")[0], of("cifar10")[0]
        other.data.name = "cifar100"
        assert config.to_dict() == other.to_dict()

    def test_imagenet100_is_imagenet_with_other_data_and_fewer_epochs(self):
        config, other = of("imagenet100")[0], of("imagenet")[0]
        other.data.name, other.data.test_split, other.epochs = "./imagenet100", "val", 400
        assert config.to_dict() == other.to_dict()

    def test_the_views_of_the_pytorch_code(self):
        """Brightness and contrast 0.4, saturation 0.2, hue 0.1 of both views; they are all else."""
        config, other = of("imagenet_pytorch")[0], of("imagenet")[0]
        view = policies.byol(224)[0]
        assert build.policies(config) == (view, view)
        other.augment = config.augment
        other.evaluation.linear_batch_size = 1024
        assert config.to_dict() == other.to_dict()


def rate_after(step, config, steps_per_epoch):
    """The learning rate that a config asks for: up in a line, then down along half a cosine."""
    settings = config.optimizer
    batch = config.batch_size
    factor = {"sqrt": math.sqrt(batch), "linear": batch / 256, "constant": 1.0}[settings.scaling]
    warmup = int(settings.warmup_epochs * steps_per_epoch)
    if step <= warmup:
        return settings.learning_rate * factor * step / warmup
    done = (step - warmup) / (config.epochs * steps_per_epoch - warmup)
    return settings.learning_rate * factor * (1 + math.cos(math.pi * done)) / 2


class TestTwoSteps:
    # A ResNet-50 takes 20 s to trace, so one recipe alone takes its steps with it.
    ENCODERS = {"imagenet": {"name": "resnet50"}}
    SMALLEST = {"name": "small_resnet", "widths": (4,)}

    def task(self, name, config, monkeypatch, request):
        """A run of two batches of the recipe's kind."""
        if name not in OF_IMAGES:
            config.data.update(name="emoji", text="caption")
            config.text_encoder.update(width=64, blocks=1)
            if config.text_encoder.tokenizer != "words":
                config.text_encoder.tokenizer = "bpe"
            config.data.data_dir = str(request.getfixturevalue("emoji_dir"))
            config.data.train_split = f"train[:{2 * BATCH}]"
            return image_text_task.ImageTextTask(config, "train")
        images = np.random.default_rng(0).integers(
            0, 256, (2 * BATCH, 40, 40, config.data.channels), np.uint8
        )
        source = sogclr_tf.ArraySource(images, np.arange(2 * BATCH) % 2)
        monkeypatch.setattr(image_task, "open_source", lambda *_: source)
        return image_task.ImageTask(config, "train")

    @TRACED
    @pytest.mark.parametrize("name", NAMES)
    def test_are_taken(self, name, monkeypatch, request):
        config, _ = of(name)
        config.batch_size, config.data.image_size = BATCH, 32
        config.encoder = ml_collections.ConfigDict(self.ENCODERS.get(name, self.SMALLEST))
        task = self.task(name, config, monkeypatch, request)
        views, model = task.stream, task.compiled_model(tf.distribute.get_strategy())
        before = [weight.numpy() for weight in model.trainable_weights]
        history = model.fit(views, epochs=1, verbose=0).history
        assert model.trained_steps == 2
        assert model.contrastive_loss.name == config.loss.name
        assert np.isfinite(history["loss"]).all()
        assert_close(model.optimizer.learning_rate, rate_after(2, config, views.steps_per_epoch))
        after = [weight.numpy() for weight in model.trainable_weights]
        assert all(np.isfinite(weight).all() for weight in after)
        assert any((new != old).any() for new, old in zip(after, before, strict=True))
