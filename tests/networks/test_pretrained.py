"""Weights of PyTorch and keras.applications: the same features, and no array unaccounted for."""

import pathlib
import pickle
import re
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
from support import pytorch_resnet
from support.numerics import assert_close
from support.paths import ROOT

import sogclr_tf
from sogclr_tf import import_resnet
from sogclr_tf.networks import pretrained, weight_files
from sogclr_tf.networks.weight_layouts import LAYOUTS

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
TOOL = ROOT / "tools" / "import_weights.py"
SMALL = {"input_shape": (32, 32, 3)}


@pytest.fixture(scope="module")
def imported():
    """Function of the name of a golden file: (state dict, encoder of any size, report).

    Their arrays are not to be changed.
    """
    made = {}

    def of(name):
        if name not in made:
            arrays = pytorch_resnet.state_dict(**pytorch_resnet.GOLDEN[name])
            made[name] = arrays, *import_resnet(arrays, input_shape=(None, None, 3))
        return made[name]

    return of


@pytest.fixture(scope="module")
def state(imported):
    """The state dict of a ResNet-18 with the CIFAR stem."""
    return imported("torch_resnet18_cifar")[0]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")


@pytest.fixture(scope="module")
def keras_network():
    """A ResNet50 of keras.applications, of any size, with every weight and statistic drawn."""
    model = keras.applications.ResNet50(weights=None, include_top=False, pooling="avg")
    for weight in model.weights:
        weight.assign(drawn(*weight.path.split("/"), tuple(weight.shape)))
    return model


@pytest.fixture(scope="module")
def keras_imported(keras_network):
    return import_resnet(keras_network, input_shape=(None, None, 3))


def drawn(layer, parameter, shape):
    """As PyTorch's arrays are; the first statistics are those of levels up to 255."""
    name = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}.get(
        parameter, parameter.replace("moving", "running").replace("variance", "var")
    )
    name = f"{layer.replace('_3_bn', '.bn3')}.{name}"
    if parameter == "kernel":
        shape = tuple(shape[axis] for axis in (3, 2, 0, 1))
        return pytorch_resnet.drawn(name, shape).transpose(2, 3, 1, 0)
    scale = 1e4 if (layer, parameter) == ("conv1_bn", "moving_variance") else 1
    return scale * pytorch_resnet.drawn(name, shape)


def assert_same_weights(encoder, other):
    for weight, expected in zip(encoder.weights, other.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def features(encoder, batch):
    return np.asarray(encoder(batch, training=False))


class TestPyTorch:
    @pytest.mark.parametrize("name", pytorch_resnet.GOLDEN)
    def test_features_are_the_golden_ones(self, imported, golden, name):
        _, encoder, _ = imported(name)
        for side in pytorch_resnet.SIDES:
            expected = golden(name)[f"side_{side}"]
            found = features(encoder, pytorch_resnet.images(side))[:, ::8]
            assert_close(found, expected, terms=10000)
            assert 0.5 < np.std(expected) < 10

    @pytest.mark.parametrize("name", pytorch_resnet.GOLDEN)
    @pytest.mark.usefixtures("torch")
    def test_features_are_those_of_pytorch(self, imported, name):
        arrays, encoder, _ = imported(name)
        network = pytorch_resnet.network(arrays)
        for batch in (pytorch_resnet.images(64), pytorch_resnet.images(65)[:, :, :50]):
            expected = pytorch_resnet.features(network, batch)
            assert_close(features(encoder, batch), expected, terms=10000)

    @pytest.mark.parametrize("name", ["torch_resnet18", "torch_resnet50"])
    def test_every_weight_is_set_and_every_array_used_or_reported(self, imported, name):
        arrays, encoder, report = imported(name)
        fresh = sogclr_tf.ResNet(report.depth, input_shape=(32, 32, 3))
        for weight, other in zip(encoder.weights, fresh.weights, strict=True):
            # A few floats of many are the same by chance.
            assert np.mean(np.asarray(weight) == np.asarray(other)) < 0.01, weight.path
        left_out = [name for names in report.left_out.values() for name in names]
        counts = [name for name in arrays if name.endswith("num_batches_tracked")]
        assert sorted(left_out) == sorted(["fc.weight", "fc.bias", *counts])
        assert report.arrays == len(arrays) - len(left_out) == len(encoder.weights)
        assert report.parameters == sum(
            array.size for name, array in arrays.items() if name not in left_out
        )

    def test_same_padding_would_differ(self, imported):
        """The comparison with PyTorch is one that an encoder of another padding fails."""
        _, encoder, _ = imported("torch_resnet18_cifar")
        config = encoder.get_layer("normalization")
        normalization = config.input_mean, np.sqrt(config.input_variance)
        other = sogclr_tf.ResNet(
            18, stem="cifar", input_normalization=normalization, input_shape=(None, None, 3)
        )
        other.set_weights(encoder.get_weights())
        batch = pytorch_resnet.images(64)
        assert np.max(np.abs(features(other, batch) - features(encoder, batch))) > 0.1

    @pytest.mark.parametrize(
        "prefix", ["base_encoder.", "module.encoder_q.", "encoder.", "module.backbone.", "module."]
    )
    def test_the_encoder_is_found_by_its_prefix(self, state, prefix):
        arrays = {f"{prefix}{name}": array for name, array in state.items()}
        encoder, report = import_resnet({"state_dict": arrays, "epoch": 3}, **SMALL)
        np.testing.assert_array_equal(encoder.get_layer("stem_bn").gamma, state["bn1.weight"])
        assert report.left_out["the classifier or projector"] == [
            f"{prefix}fc.weight",
            f"{prefix}fc.bias",
        ]
        assert report.left_out["what lies beside the weights"] == ["epoch"]

    def test_what_is_left_out_of_a_checkpoint(self, state):
        """MoCo v3, with MoCo v2's queue and SogCLR's u thrown in."""
        arrays = {f"module.base_encoder.{name}": array for name, array in state.items()}
        rest = {
            "the momentum encoder": [f"module.momentum_encoder.{name}" for name in state],
            "the predictor": ["module.predictor.0.weight", "module.predictor.1.running_mean"],
            "the queue": ["module.queue", "module.queue_ptr"],
            "a number per example": ["module.u", "module.u_table"],
        }
        for names in rest.values():
            arrays |= dict.fromkeys(names, np.ones(3))
        checkpoint = {"epoch": 1, "arch": "resnet18", "state_dict": arrays, "u": np.ones(4)}
        _, report = import_resnet(checkpoint, **SMALL)
        for reason, names in rest.items():
            assert report.left_out[reason] == names
        assert report.left_out["what lies beside the weights"] == ["epoch", "arch", "u"]
        assert "left out  the queue: module.queue, module.queue_ptr" in str(report).splitlines()
        assert re.search(r"momentum encoder: .*, and \d+ more$", str(report), re.MULTILINE)

    @pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
    @pytest.mark.parametrize(("cifar", "width"), [(False, 64), (True, 128), (False, 256)])
    def test_the_network_is_found(self, depth, cifar, width):
        shapes = pytorch_resnet.shapes(depth, cifar, width, 10)
        arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes}
        assert pretrained._network("", arrays, LAYOUTS["PyTorch"], "") == {
            "depth": depth,
            "width_multiplier": width // 64,
            "stem": "cifar" if cifar else "imagenet",
        }

    def test_normalization(self, state, imported):
        """Of one's own, and none: then images are to come normalized."""
        batch = pytorch_resnet.images(32)
        mean, deviation = pytorch_resnet.MEAN, pytorch_resnet.DEVIATION
        expected = features(imported("torch_resnet18_cifar")[1], batch)
        own, _ = import_resnet(state, input_normalization=((0.5,) * 3, (0.25,) * 3), **SMALL)
        none, _ = import_resnet(state, input_normalization=None, **SMALL)
        normalized = ((batch - mean) / np.asarray(deviation)).astype(np.float32)
        assert "normalization" not in [layer.name for layer in none.layers]
        assert_close(features(none, normalized), expected, terms=10000)
        assert_close(features(own, 0.25 * normalized + 0.5), expected, terms=10000)

    def test_group_normalization_is_refused(self, state):
        """Its gamma and beta are called as those of batch normalization are."""
        arrays = {name: array for name, array in state.items() if "running_" not in name}
        with pytest.raises(ValueError, match="has bn1.weight but no running_mean at all") as caught:
            import_resnet(arrays, **SMALL)
        assert "\n" not in str(caught.value)
        own = sogclr_tf.ResNet(18, normalization="group", **SMALL)
        with pytest.raises(ValueError, match="with group normalization, which needs no import"):
            import_resnet(own, **SMALL)


class TestKeras:
    @pytest.mark.parametrize("size", [(64, 64), (65, 90)])
    def test_features_are_those_of_keras_applications(self, keras_network, keras_imported, size):
        levels = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype(np.float32)
        preprocessed = keras.applications.resnet.preprocess_input(levels.copy())
        expected = features(keras_network, preprocessed)
        found = features(keras_imported[0], levels / 255)
        assert_close(found, expected, terms=10000)
        assert 0.5 < np.std(expected) < 10

    def test_every_array_is_used(self, keras_network, keras_imported):
        _, report = keras_imported
        assert (report.depth, report.layout, report.left_out) == (50, "Keras", {})
        assert report.arrays == len(keras_network.weights)

    @pytest.mark.parametrize(
        "ending",
        [".h5", pytest.param(".keras", marks=AGAIN), pytest.param(".weights.h5", marks=AGAIN)],
    )
    def test_files_with_a_top(self, keras_network, keras_imported, tmp_path, ending):
        """Keras 3's two, and the .h5 of Keras 2, which Keras 3 still writes."""
        scores = keras.layers.Dense(4, name="predictions")(keras_network.output)
        whole = keras.Model(keras_network.input, scores)
        whole.compile("adam")
        path = tmp_path / f"whole{ending}"
        (whole.save_weights if ending == ".weights.h5" else whole.save)(path)
        encoder, report = import_resnet(path, **SMALL)
        left_out = {reason: sorted(names) for reason, names in report.left_out.items()}
        assert left_out == {
            "the classifier": ["predictions/bias", "predictions/kernel"],
            "what lies beside the weights": [
                "optimizer_weights" if ending == ".h5" else "optimizer"
            ],
        }
        assert_same_weights(encoder, keras_imported[0])

    def test_own_normalization_takes_red_first(self, keras_network):
        """The kernel is turned around for the published order alone."""
        encoder, _ = import_resnet(keras_network, input_normalization=None, **SMALL)
        kernel = keras_network.get_layer("conv1_conv").kernel
        np.testing.assert_array_equal(encoder.get_layer("stem_conv").kernel, kernel)

    def test_weights_of_keras_2(self, keras_network, tmp_path):
        """As they are downloaded: no `model_weights`, and names that end in :0."""
        path = tmp_path / "resnet50_notop.h5"
        with h5py.File(path, "w") as file:
            for weight in keras_network.weights:
                layer, parameter = weight.path.split("/")
                file[f"{layer}/{layer}/{parameter}:0"] = np.asarray(weight)
        expected, found = (weight_files.read(source).arrays for source in (keras_network, path))
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name], strict=True)

    def test_other_networks_of_keras(self):
        for network, message in [
            (keras.applications.ResNet50V2, "resnet50v2 is a ResNet of version 2 .it has conv2_"),
            (keras.applications.MobileNet, "holds no ResNet: expected arrays such as conv1_conv/"),
        ]:
            with pytest.raises(ValueError, match=message) as caught:
                import_resnet(network(weights=None, include_top=False, input_shape=(32, 32, 3)))
            assert "\n" not in str(caught.value)

    def test_a_file_without_names(self, tmp_path):
        path = tmp_path / "old.weights.h5"
        with h5py.File(path, "w") as file:
            file["layers/conv2d/vars/0"] = np.ones(3)
        with pytest.raises(ValueError, match="keeps no names of layers: load the model with Keras"):
            import_resnet(path)


class TestFiles:
    def test_of_pytorch(self, state, torch, tmp_path):
        """Either kind of pickle, halves, and a module itself."""
        tensors = {name: torch.tensor(array) for name, array in state.items()}
        checkpoint = {"arch": "resnet18", "state_dict": tensors, "u": torch.zeros(5, 1)}
        torch.save(checkpoint, tmp_path / "a.pth.tar")
        torch.save(tensors, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
        torch.save({"model": {"a": torch.tensor([1, 2.5]).bfloat16()}}, tmp_path / "c.pth")
        network = pytorch_resnet.network(state)
        for source in (tmp_path / "a.pth.tar", tmp_path / "b.pt", network):
            arrays = weight_files.read(source).arrays
            assert arrays.keys() == state.keys()
            for name, array in arrays.items():
                np.testing.assert_array_equal(array, state[name], strict=True)
        assert weight_files.read(tmp_path / "a.pth.tar").after_step == ["arch", "u"]
        half = weight_files.read(tmp_path / "c.pth").arrays["a"]
        np.testing.assert_array_equal(half, np.float32([1, 2.5]), strict=True)

    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
    def test_of_safetensors(self, tmp_path, dtype):
        arrays = {"a": np.asarray([1, 2.5], dtype), "count": np.asarray(3)}
        safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors")
        stored = weight_files.read(str(tmp_path / "a.safetensors"))
        assert stored.arrays["a"].dtype == "float32"
        np.testing.assert_array_equal(stored.arrays["a"], [1, 2.5])
        assert stored.arrays["count"] == 3

    def test_a_pickle_that_would_run_code(self, torch, tmp_path):
        class Malicious:
            def __reduce__(self):
                return pathlib.Path.write_text, (tmp_path / "written", "by a pickle")

        path = tmp_path / "evil.pth"
        for content in (Malicious(), {"state_dict": {}, "args": Malicious()}, None):
            torch.save(content, path)
            if content is None:
                path.write_bytes(pickle.dumps(Malicious()))
            with pytest.raises(ValueError, match=r"holds more than tensors \([^()]+\)") as caught:
                import_resnet(path)
            assert "\n" not in str(caught.value)
            assert "refused: where you trust it, save its state dict alone" in str(caught.value)
        assert not (tmp_path / "written").exists()
        # The file is one that would have.
        pickle.loads(path.read_bytes())
        assert (tmp_path / "written").exists()

    @pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors", ".keras", ".h5"])
    def test_a_file_that_is_cut_off(self, state, request, tmp_path, ending):
        path = tmp_path / f"cut{ending}"
        if ending in (".pth", ".pt"):
            torch = request.getfixturevalue("torch")
            tensors = {"conv1.weight": torch.ones(64, 3, 7, 7)}
            torch.save(tensors, path, _use_new_zipfile_serialization=ending == ".pth")
        elif ending == ".safetensors":
            safetensors.numpy.save_file({"a": state["bn1.bias"]}, path)
        else:
            keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"cut\S+ cannot be read \(.+\): it is cut") as caught:
            import_resnet(path)
        assert "\n" not in str(caught.value)

    def test_what_is_no_file_of_weights(self, tmp_path):
        for name, message in [
            (
                "a.onnx",
                r"a.onnx has another ending than .pth, .pt, .tar, .safetensors, .keras, .h5",
            ),
            ("none.pth", "there is no file .*none.pth"),
        ]:
            with pytest.raises(ValueError, match=message):
                import_resnet(tmp_path / name)

    @pytest.mark.parametrize("name", ["torch", "safetensors"])
    def test_a_reader_that_is_not_installed(self, tmp_path, monkeypatch, name):
        path = tmp_path / {"torch": "a.pth", "safetensors": "a.safetensors"}[name]
        path.touch()
        # What `import` finds as None it reports as missing.
        for module in (name, f"{name}.numpy"):
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=f"read by .*, which is missing: pip install {name}"):
            import_resnet(path)

    def test_other_content(self, torch, tmp_path):
        torch.save(torch.ones(3), tmp_path / "a.pth")
        with pytest.raises(ValueError, match="a.pth holds a Tensor: expected a state dict"):
            import_resnet(tmp_path / "a.pth")
        with pytest.raises(
            ValueError, match="the state dict holds a, a str: expected dense arrays"
        ):
            import_resnet({"a": "text"})


def test_all_misfits_are_in_one_line(state):
    arrays = dict(state)
    for block in range(2):
        del arrays[f"layer2.{block}.bn2.bias"], arrays[f"layer3.{block}.bn2.bias"]
    del arrays["bn1.running_var"], arrays["layer4.1.conv2.weight"]
    arrays |= {"layer1.0.se.weight": np.ones(3), "head.bias": np.ones(3)}
    arrays["layer1.1.conv2.weight"] = np.ones((64, 32, 3, 3))
    arrays["layer1.1.bn2.weight"] = np.full(64, np.nan)
    with pytest.raises(ValueError, match="the state dict does not fit a ResNet-18") as caught:
        import_resnet(arrays, **SMALL)
    assert str(caught.value) == (
        "the state dict does not fit a ResNet-18 (missing: bn1.running_var, layer2.0.bn2.bias, "
        "layer2.1.bn2.bias, layer3.0.bn2.bias, and 2 more; unexpected: layer1.0.se.weight, "
        "head.bias; of another shape: layer1.1.conv2.weight (64, 32, 3, 3) instead of "
        "(64, 64, 3, 3); not finite: layer1.1.bn2.weight): give the weights of one, whole and with "
        "nothing else"
    )


def without(prefix):
    return lambda arrays: {n: a for n, a in arrays.items() if not n.startswith(prefix)}


def kernel(name, *shape):
    return lambda arrays: {**arrays, name: np.zeros(shape, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("layer4"),
            r"has 2, 2, 2 basic blocks in its stages: expected those of depth 18, ",
        ),
        (without("layer4.1"), r"has 2, 2, 2, 1 basic blocks"),
        (without("layer"), r"holds no ResNet: expected arrays such as conv1.weight and layer1"),
        (without(""), r"holds no ResNet: .*, it holds none"),
        (kernel("conv1.weight", 64, 3, 5, 5), r"has a first kernel of 5x5: expected the 7x7"),
        (kernel("conv1.weight", 16, 3, 3, 3), r"has 16 channels in its stem: expected a multiple"),
        (
            kernel("layer1.0.conv2.weight", 128, 128, 3, 3),
            r"is a wide ResNet, with 128 channels within a block after a stem of 64",
        ),
        (kernel("layer1.0.conv2.weight", 128, 4, 3, 3), r"is a ResNeXt, with 32 groups"),
    ],
)
def test_other_networks(state, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        import_resnet(change(state))
    assert "\n" not in str(caught.value)


def test_a_vision_transformer_of_moco_v3():
    prefix = "module.base_encoder."
    arrays = {
        f"{prefix}cls_token": np.zeros((1, 1, 384)),
        f"{prefix}pos_embed": np.zeros((1, 197, 384)),
        f"{prefix}patch_embed.proj.weight": np.zeros((384, 3, 16, 16)),
        f"{prefix}blocks.0.attn.qkv.weight": np.zeros((1152, 384)),
        f"{prefix}head.0.weight": np.zeros((4096, 384)),
    }
    message = (
        r"is a vision transformer, which import_vit takes \(it has module.base_encoder.cls_tok"
    )
    with pytest.raises(ValueError, match=message):
        import_resnet({"state_dict": arrays})


@pytest.mark.slow(reason="programs run in processes of their own")
@pytest.mark.parametrize("kind", ["small", "imported"])
def test_the_guide_runs_as_it_is_printed(state, tmp_path, monkeypatch, kind):
    """For one epoch instead of 100, of the first snippet; the others are the tests above."""
    page = (ROOT / "docs" / "weights.md").read_text()
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    shape = {"input_shape": (16, 16, 3)}
    small = sogclr_tf.small_resnet(widths=(4,), **shape)
    encoder = small if kind == "small" else import_resnet(state, **shape)[0]
    monkeypatch.chdir(tmp_path)
    sogclr_tf.export_keras(encoder, "encoder.keras")
    np.save("my_images.npy", np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8))
    assert "epochs=100" in program
    scope = {}
    exec(program.replace("epochs=100", "epochs=1"), scope)
    assert (tmp_path / "my_encoder" / "1" / "saved_model.pb").exists()
    trained = scope["encoder"].get_layer("stem_conv").kernel
    assert np.any(np.asarray(trained) != np.asarray(encoder.get_layer("stem_conv").kernel))


def command(folder, *arguments):
    return subprocess.run(
        [sys.executable, TOOL, *arguments], cwd=folder, capture_output=True, text=True
    )


class TestCommand:
    @pytest.mark.slow(reason="programs run in processes of their own")
    def test_writes_an_encoder_that_keras_alone_reads(self, state, imported, tmp_path):
        arrays = {f"module.base_encoder.{name}": array for name, array in state.items()}
        safetensors.numpy.save_file(arrays, tmp_path / "sogclr.safetensors")
        (tmp_path / "encoder.keras").write_text("another one")
        process = command(
            tmp_path, "sogclr.safetensors", "encoder.keras", "--image_size=32", "--overwrite"
        )
        assert process.returncode == 0, process.stderr
        lines = process.stdout.splitlines()
        assert lines[0].startswith("ResNet-18 with the cifar stem")
        assert any(
            line.startswith("left out  the classifier or projector: module.") for line in lines
        )
        assert "wrote     encoder.keras: images of 32 x 32 in 0..1 to 512 features" in lines
        assert "--mode=evaluate --encoder=encoder.keras" in process.stdout
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "encoder.keras",
            "sogclr.safetensors",
        ]
        np.save(tmp_path / "images.npy", pytorch_resnet.images(32))
        program = (
            "import sys, keras, numpy as np\n"
            "encoder = keras.models.load_model('encoder.keras')\n"
            "np.save('features.npy', encoder(np.load('images.npy'), training=False))\n"
            "assert not any(name.startswith('sogclr_tf') for name in sys.modules)\n"
        )
        # -P: the folder of this test is no place to import from.
        alone = subprocess.run(
            [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True
        )
        assert alone.returncode == 0, alone.stderr
        expected = features(imported("torch_resnet18_cifar")[1], pytorch_resnet.images(32))
        assert_close(np.load(tmp_path / "features.npy"), expected, terms=10000)
        loaded = sogclr_tf.load_encoder(tmp_path / "encoder.keras")
        assert_close(features(loaded, pytorch_resnet.images(32)), expected, terms=10000)

    @pytest.mark.parametrize("size", ["0", "1,2,3", "32,", "wide"])
    def test_no_size(self, tmp_path, size):
        process = command(tmp_path, "a.pth", "b.keras", f"--image_size={size}")
        assert process.returncode == 2
        said = f"'{size}' is no size: give a number of pixels >= 1, HEIGHT,WIDTH or any"
        assert process.stderr.splitlines()[-1].endswith(said)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["a.pth", "b.h5"], "b.h5 is to be the encoder: give a name that ends in .keras"),
            (["a.pth", "there.keras"], "there.keras exists: give another name, or --overwrite"),
            (["a.pth", "b.keras", "--mean", "0", "0", "0"], "--mean and --std go together"),
            (
                ["a.pth", "b.keras", "--no_normalization", "--std", "1", "1", "1"],
                "--no_normalization goes with neither --mean nor --std",
            ),
            (["a.pth", "b.keras"], "there is no file a.pth"),
        ],
    )
    def test_stops_with_one_line(self, tmp_path, arguments, message):
        (tmp_path / "there.keras").write_text("mine")
        process = command(tmp_path, *arguments)
        assert process.returncode == 1
        assert process.stderr.splitlines()[-1].startswith(f"error: {message}")
        assert "Traceback" not in process.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["there.keras"]
        assert (tmp_path / "there.keras").read_text() == "mine"
