"""Files of weights, in every format that is read, and what is none."""

import pathlib
import pickle
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy
from support import pytorch_resnet

from sogclr_tf import import_resnet
from sogclr_tf.networks import weight_files


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
        assert weight_files.read(tmp_path / "a.pth.tar").beside == ["arch", "u"]
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
