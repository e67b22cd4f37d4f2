"""SavedModels of google-research/simclr: their features, and what is none of its ResNets."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support import simclr_resnet
from support.numerics import assert_close
from support.paths import ROOT
from support.simclr_variants import arrays_of, with_selective_kernels, with_stem_of_resnet_d

import sogclr_tf
from sogclr_tf import import_resnet
from sogclr_tf.experiment.config import config_of_file, recipe_path
from sogclr_tf.experiment.encoder_file import read_start
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.image_task import ImageTask
from sogclr_tf.networks import pretrained, simclr_checkpoint
from sogclr_tf.networks.weight_layouts import LAYOUTS

AGAIN = pytest.mark.slow(reason="the same on another network, or by other names")
SMALL = {"input_shape": (32, 32, 3)}
HEAD = [
    ("projection_head/nl_0/dense/kernel", np.ones((512, 8), np.float32)),
    *(
        (f"projection_head/nl_0/batch_norm_relu_21/sync_batch_normalization_21/{parameter}", one)
        for one in [np.ones(8, np.float32)]
        for parameter in ("gamma", "beta", "moving_mean", "moving_variance")
    ),
]
CLASSIFIER = [
    ("head_supervised/linear_layer/dense_1/kernel", np.ones((512, 4), np.float32)),
    ("head_supervised/linear_layer/dense_1/bias", np.ones(4, np.float32)),
]


@pytest.fixture(scope="module")
def encoder_18():
    """[(full name, array)] of the golden ResNet-18, not to be changed."""
    return simclr_resnet.drawn(simclr_resnet.listed(18))


@pytest.fixture(scope="module")
def imported(tmp_path_factory, encoder_18):
    """(encoder of any size, report) of the golden ResNet-18 with heads, by its names."""
    folder = tmp_path_factory.mktemp("simclr") / "saved_model"
    simclr_resnet.write(folder, encoder_18, HEAD, CLASSIFIER)
    return import_resnet(folder, input_shape=(None, None, 3))


def refused(source):
    """The line of an import that is refused."""
    with pytest.raises(ValueError, match=r".") as caught:
        import_resnet(source, **SMALL)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same_weights(encoder, other):
    for weight, expected in zip(encoder.weights, other.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


class TestImport:
    @pytest.mark.parametrize("depth", [18, 50])
    def test_the_support_lists_what_simclr_makes(self, golden, depth):
        """By names and shapes, in order; so its lists of other depths can be believed."""
        made = json.loads(str(golden(f"simclr_resnet{depth}")["variables"]))
        found = [[f"{name}:0", list(shape)] for name, shape in simclr_resnet.listed(depth)]
        assert found == made

    def test_features_are_the_golden_ones(self, imported, golden):
        expected = golden("simclr_resnet18")
        found = imported[0](expected["images"], training=False)
        assert_close(found, expected["features"], terms=10000)
        assert 0.5 < np.std(expected["features"]) < 10

    @AGAIN
    @pytest.mark.parametrize("named", [True, False])
    def test_features_are_the_golden_ones_of_50_layers(self, golden, tmp_path, named):
        variables = simclr_resnet.drawn(simclr_resnet.listed(50))
        folder = simclr_resnet.write(tmp_path / "a", variables, HEAD, CLASSIFIER, named=named)
        encoder, report = import_resnet(folder, input_shape=(64, 64, 3))
        expected = golden("simclr_resnet50")
        found = encoder(expected["images"], training=False)
        assert_close(found, expected["features"], terms=10000)
        assert report.arrays == len(encoder.weights) == 265

    def test_other_padding_or_shortcuts_would_differ(self, imported, golden):
        """The comparison with SimCLR is one that an encoder of PyTorch's padding fails."""
        encoder, _ = imported
        other = sogclr_tf.ResNet(
            18, padding="symmetric", shortcuts="by_stage", input_shape=(64, 64, 3)
        )
        other.set_weights(encoder.get_weights())
        images = golden("simclr_resnet18")["images"]
        found, expected = (np.asarray(e(images, training=False)) for e in (other, encoder))
        assert np.max(np.abs(found - expected)) > 0.1

    def test_every_array_is_used_or_left_out(self, imported, encoder_18):
        encoder, report = imported
        assert report.arrays == len(encoder_18) == len(encoder.weights)
        assert report.parameters == sum(array.size for _, array in encoder_18)
        assert {reason: set(names) for reason, names in report.left_out.items()} == {
            "the projection head": {name for name, _ in HEAD},
            "the classifier": {name for name, _ in CLASSIFIER},
        }
        assert str(report).startswith("ResNet-18 with the imagenet stem and 1 x 64 channels, by")

    def test_by_places_alone(self, imported, encoder_18, tmp_path):
        folder = simclr_resnet.write(tmp_path / "a", encoder_18, HEAD, CLASSIFIER, named=False)
        encoder, report = import_resnet(folder, **SMALL)
        assert_same_weights(encoder, imported[0])
        assert {reason: len(names) for reason, names in report.left_out.items()} == {
            "the projection head": 2,
            "the projection head or classifier": 5,
        }

    @AGAIN
    def test_without_heads(self, imported, encoder_18, tmp_path):
        folder = simclr_resnet.write(tmp_path / "a", encoder_18, named=False)
        encoder, report = import_resnet(folder, **SMALL)
        assert_same_weights(encoder, imported[0])
        assert report.left_out == {}

    def test_an_encoder_that_was_frozen(self, imported, encoder_18, tmp_path):
        frozen = {"classifier": CLASSIFIER, "frozen": True}
        folder = simclr_resnet.write(tmp_path / "named", encoder_18, **frozen)
        assert_same_weights(import_resnet(folder, **SMALL)[0], imported[0])
        folder = simclr_resnet.write(tmp_path / "none", encoder_18, named=False, **frozen)
        assert "an encoder that was frozen cannot be told without them" in refused(folder)

    @pytest.mark.parametrize("named", [True, False])
    @pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
    @pytest.mark.parametrize(("width", "cifar"), [(1, True), (2, False), (3, False)])
    def test_the_network_is_found(self, depth, width, cifar, named):
        arrays = arrays_of(simclr_resnet.listed(depth, width, cifar), named)
        layout = LAYOUTS["SimCLR"]
        network = pretrained._network("", arrays, layout, "")
        assert network == {
            "depth": depth,
            "width_multiplier": width,
            "stem": "cifar" if cifar else "imagenet",
        }
        assert not [name for name in arrays if not layout.parameters.keys() & {name.split("/")[-1]}]


class TestRefusals:
    def test_other_networks(self):
        selective, stem_d = with_selective_kernels(), with_stem_of_resnet_d()
        for variables, named, message in [
            (selective, True, r"^it has selective kernels \(it has resnet/.*\): only ResNets with"),
            (selective, False, r"^it has a convolution without its normalization, as selective"),
            (stem_d, True, r"^it has the stem of a ResNet-D, as SimCLR's networks with selective"),
            (stem_d, False, r"^it has the stem of a ResNet-D"),
            (simclr_resnet.listed(18)[:30], False, r"^it has convolutions of 331333313 pixels beh"),
        ]:
            with pytest.raises(ValueError, match=message) as caught:
                arrays_of(variables, named)
            assert "\n" not in str(caught.value)
        with pytest.raises(ValueError, match="has 3, 24, 36, 3 bottleneck blocks in its stages"):
            pretrained._network("it", arrays_of(simclr_resnet.listed(200)), LAYOUTS["SimCLR"], "")

    @pytest.mark.parametrize("named", [False, pytest.param(True, marks=AGAIN)])
    def test_what_is_missing_or_more(self, encoder_18, tmp_path, named):
        more = [*encoder_18[:9], ("resnet/odd/weight", np.ones(2, np.float32)), *encoder_18[9:]]
        line = refused(simclr_resnet.write(tmp_path / "more", more, named=named))
        name = "resnet/odd/weight" if named else "block_group1/block1/conv2/array3"
        assert f"does not fit a ResNet-18 (unexpected: {name}): give the weights of one" in line
        less = [*encoder_18[:1], *encoder_18[2:]] if named else encoder_18[:-1]
        line = refused(simclr_resnet.write(tmp_path / "less", less, named=named))
        name = "stem/gamma" if named else "block_group4/block2/conv2/moving_variance"
        assert f"does not fit a ResNet-18 (missing: {name}): give the weights of one" in line

    def test_a_convolution_that_is_left(self):
        """Not taken for one of the projection head."""
        odd = [("projection_head/a", (5, 8)), ("projection_head/b", (1, 1, 5, 8))]
        variables = simclr_resnet.listed(18)
        for named, name in ((True, "projection_head/b"), (False, "trainable_variables_list/64")):
            message = f"^it has a convolution beside its ResNet .{name}.: only plain ResNets"
            with pytest.raises(ValueError, match=message):
                arrays_of(variables[:63] + odd + variables[63:], named)

    def test_names_that_do_not_tell_layers_apart(self):
        """Then places do."""
        variables = simclr_resnet.listed(18)
        same = [(re.sub(r"_\d+/", "/", name), shape) for name, shape in variables]
        expected, found = (arrays_of(listed, named=True) for listed in (variables, same))
        assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in expected.items()}

    def test_a_convolution_that_is_missing(self):
        with pytest.raises(ValueError, match="^it lacks the convolution before resnet/batch_norm_"):
            arrays_of(simclr_resnet.listed(18)[1:])

    def test_a_place_that_is_missing(self, encoder_18):
        arrays = {f"trainable_variables_list/{i}": encoder_18[i][1] for i in range(63) if i != 7}
        with pytest.raises(ValueError, match=r"^it lacks trainable_variables_list/7: give all of"):
            simclr_checkpoint.by_layer("it", arrays, {})

    def test_other_folders(self, tmp_path):
        (tmp_path / "empty").mkdir()
        line = refused(tmp_path / "empty")
        assert (
            "empty holds no variables/variables.index: expected a file, or the folder of a "
            "SavedModel of google-research/simclr (tf2); an export or a run of this package needs"
        ) in line
        module = tf.Module()
        module.kernel = tf.Variable(tf.ones(3))
        tf.saved_model.save(module, str(tmp_path / "other"))
        line = refused(tmp_path / "other")
        assert "is no SavedModel of google-research/simclr (tf2) (it has kernel): give the" in line
        cut = tmp_path / "other" / "variables" / "variables.index"
        cut.write_bytes(cut.read_bytes()[:40])
        assert "cannot be read" in refused(tmp_path / "other")

    @pytest.mark.slow(reason="an encoder is exported")
    def test_an_export_of_this_package(self, tmp_path):
        encoder = sogclr_tf.small_resnet(widths=(4,), input_shape=(8, 8, 3))
        assert refused(sogclr_tf.export_encoder(encoder, tmp_path)).endswith(
            "an export or a run of this package needs no import: load_encoder reads it, and "
            "--config.encoder.weights starts from it"
        )

    def test_simclr_for_tensorflow_1(self, tmp_path):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.get_variable("base_model/conv2d/kernel", initializer=tf.ones((3, 3, 3, 8)))
            session.run(tf.compat.v1.global_variables_initializer())
            (tmp_path / "variables").mkdir()
            path = str(tmp_path / "variables" / "variables")
            tf.compat.v1.train.Saver().save(session, path, write_meta_graph=False)
        assert (
            "is of SimCLR's code for TensorFlow 1 (it has base_model/conv2d/kernel): give the "
            "SavedModel of google-research/simclr (tf2), which its authors publish"
        ) in refused(tmp_path)


@pytest.mark.slow(reason="the tool runs in a process of its own, and a ResNet is trained")
def test_training_starts_from_an_imported_file(encoder_18, tmp_path):
    simclr_resnet.write(tmp_path / "saved_model", encoder_18, HEAD)
    tool = [sys.executable, ROOT / "tools" / "import_weights.py"]
    process = subprocess.run(
        [*tool, "saved_model", "encoder.keras", "--image_size=16"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "left out  the projection head: projection_head/nl_0/dense/kernel, " in process.stdout
    config = config_of_file(recipe_path("digits.py"))
    del config.encoder["widths"], config.encoder["blocks_per_stage"]
    del config.encoder["stem_stride"]
    config.encoder.name = "resnet18"
    config.encoder.weights = str(tmp_path / "encoder.keras")
    config.encoder.shortcuts = "by_stage"
    with pytest.raises(ValueError, match="but is another network"):
        read_start(config, RunFolder(tmp_path / "run"), tf.distribute.get_strategy())
    config.encoder.padding = "fixed"
    start = read_start(config, RunFolder(tmp_path / "run"), tf.distribute.get_strategy())
    task = ImageTask(config, "train")
    model = task.compiled_model(tf.distribute.get_strategy())
    start.assign(task.image_encoder(model))
    kernel = model.encoder.get_layer("stem_conv").kernel
    np.testing.assert_array_equal(kernel, encoder_18[0][1])
    # The warm-up's first step has a rate of 0.
    model.fit(task.stream, epochs=1, steps_per_epoch=2, verbose=0)
    assert np.any(np.asarray(kernel) != encoder_18[0][1])
