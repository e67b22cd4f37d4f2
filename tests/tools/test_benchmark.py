"""The benchmarks run and fill their tables; what they measure is for a quiet machine."""

import importlib.util
import json
import types

import pytest
from support.exhaustive import ALL
from support.paths import ROOT

import sogclr_tf
from sogclr_tf.losses.registry import loss_names

TOOLS = ROOT / "tools"
# Half a minute of a processor each.
LONG = pytest.mark.skipif(not ALL, reason="long: SOGCLR_TF_EXHAUSTIVE=1 runs it")
SMALL = ["--encoder", "small_resnet", "--widths", "4", "--side", "16"]


@pytest.fixture
def tools(monkeypatch):
    """The folder of the benchmarks, from which they can be imported."""
    monkeypatch.syspath_prepend(TOOLS)
    return TOOLS


@pytest.fixture
def benchmark(tools, tmp_path, capsys):
    """benchmark(command, *arguments): (what it found, what it wrote)."""
    del tools
    import benchmark

    def run(*arguments):
        kept = tmp_path / "found"
        benchmark.main([*arguments, "--json", str(kept)])
        kept, written = json.loads(kept.read_text()), capsys.readouterr().out
        assert written.startswith(kept["machine"])
        return kept["found"], written

    return run


@pytest.mark.slow(reason="programs run in processes of their own")
def test_loss(benchmark):
    arguments = ["--batch", "8", "--examples", "1e2", "1e3", "--width", "16", "--rounds", "2"]
    found, written = benchmark("loss", *arguments)
    assert {row["loss"] for row in found} >= {*loss_names(), "sogclr, whole table"}
    assert {row["examples"] for row in found} == {None, 100, 1000}
    for row in found:
        assert 0 < row["time"]["low"] <= row["time"]["median"] <= row["time"]["high"]
        assert row["to_nt_xent"]["median"] == 1 or row["loss"] != "simclr"
    assert "| simclr | 8 |  |" in written
    assert "| sogclr | 8 | 1,000 |" in written


@pytest.mark.slow(reason="programs run in processes of their own")
def test_step(benchmark):
    """XLA and bfloat16, which take long to compile or to compute, are left to other tests."""
    names = ["sogclr", "keras", "execution"]
    if importlib.util.find_spec("torch"):
        names.append("torch")
    arguments = ["--batch", "4", "--rounds", "2", "--seconds", "0", "--only", *names]
    found, written = benchmark("step", *SMALL, *arguments)
    assert set(found) == set(names)
    assert all(row["median"] > 0 for row in found.values())
    assert "| SogCLR, LARS |" in written


@pytest.mark.slow(reason="programs run in processes of their own")
def test_throughput(benchmark):
    arguments = ["--batch", "4", "--steps", "2", "--rounds", "1"]
    found, written = benchmark("throughput", *SMALL, *arguments)
    assert {"the command", "bare Keras step"} <= set(found)
    assert all(row["median"] > 0 for row in found.values())
    assert "| the command |" in written


@pytest.mark.slow(reason="a training on two devices, whose messages are recorded")
class TestScaling:
    """SogCLR with LARS and a probe on two devices: B = 8, D = 128, one table."""

    @pytest.fixture(scope="class")
    def two(self):
        """What `benchmarks.scaling.measure` found of two devices."""
        shape = {"encoder": "small_resnet", "widths": [4], "stem_stride": 2, "side": 16}
        arguments = {"devices": 2, "steps": 1, "batch": 8, "examples": 100, **shape}
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(TOOLS)
            from benchmarks import children

            return children.call("scaling", "measure", **arguments)

    @pytest.mark.slow(reason="programs run in processes of their own")
    def test_the_table(self, benchmark, two, monkeypatch):
        from benchmarks import children

        nothing = {"messages": [], "copies": [], "collectives": {}}
        measured = {1: {**two, **nothing}, 2: two}
        monkeypatch.setattr(children, "call", lambda *_, devices, **__: dict(measured[devices]))
        found, written = benchmark("scaling", *SMALL, "--devices", "1", "2", "--batch", "8")
        assert found["2"]["least"] == {
            "projections": 4096,
            "the table": 32,
            "gradients of the projections": 4096,
        }
        assert "| 1 | nothing | 0 |" in written
        assert "| 2 | projections | 1 | float32 [4, 2, 128] | 4,096 | 4,096 |" in written
        assert "| 2 | the table | 2 | int32 [4] | 32 | 32 |" in written

    def test_projections_and_indices_travel_alone(self, two):
        """Nothing of the size of the images or of the similarities, by any way between devices."""
        gathered = [
            (each["what"], each["dtype"], each["shape"])
            for each in two["messages"]
            if each["kind"] == "gather"
        ]
        assert gathered == [
            ("projections", "float32", [4, 2, 128]),
            ("the table", "int32", [4]),
            ("the table", "float32", [4, 1]),
            ("gradients of the projections", "int32", [1]),
        ]
        reduced = {each["what"] for each in two["messages"] if each["kind"] == "reduce"}
        assert reduced == {
            "gradients of the projections",
            "gradients of the weights",
            "gradients of batch normalization",
            "statistics of batch normalization",
            "means to read",
            "the probe",
        }

    def test_the_graph_has_no_other_way(self, two):
        # A gather of floats asks for the shapes before it: two operations each.
        assert two["collectives"]["CollectiveGatherV2"] == 2 * 2
        assert set(two["collectives"]) == {"CollectiveGatherV2", "CollectiveReduceV2"}
        # Whole numbers are copied: indices there and back, and where rows start; counters.
        assert sorted(two["copies"]) == sorted(
            [["int32", [4]], ["int32", [8]], ["int32", [1]], ["int32", [2]], *[["int64", []]] * 3]
        )


@pytest.mark.slow(reason="programs run in processes of their own")
def test_memory(benchmark):
    arguments = ["--examples", "1e3", "3e7", "--batch", "8", "--width", "16", "--step_batch", "4"]
    found, written = benchmark(
        "memory", *SMALL, *arguments, "--parts", "loss", "step", "--rounds=1"
    )
    used = {(row["part"], row["examples"]): row for row in found}
    for when in ("peak", "now"):
        few, many = used["loss", 1000][when], used["loss", 30_000_000][when]
        assert many[0] - few[0] > 4 * 29_000_000
    assert "| step of small_resnet | 1,000 | 4 |" in written


@pytest.mark.slow(reason="programs run in processes of their own")
def test_ways(benchmark):
    """A large batch needs less memory in chunks; small ones, accumulated or not, less still."""
    sizes = ["--large", "64", "--chunks", "1", "8", "--small", "8"]
    small = ["--encoder", "small_resnet", "--widths", "32", "--side", "64", "--stem_stride", "1"]
    found, written = benchmark("memory", *small, *sizes, "--parts", "ways", "--rounds=1")
    whole, in_chunks, as_it_is, accumulated = (row["peak"][0] for row in found)
    assert in_chunks < whole
    assert as_it_is < whole
    assert accumulated < whole
    assert all(row["seconds"][0] > 0 for row in found)
    for way in ("a batch of 64 in 8 chunks", "a batch of 8", "8 batches of 8, accumulated"):
        assert f"| {way} |" in written


@pytest.mark.slow(reason="programs run in processes of their own")
def test_startup(benchmark):
    found, written = benchmark("startup", "--rounds", "1", "--only", "help", "step", "again")
    assert found["help"]["median"] < min(found[name]["median"] for name in ("step", "again"))
    assert "| first step of digits.py |" in written
    assert "| first step of a second start of digits.py |" in written


@LONG
@pytest.mark.slow(reason="programs run in processes of their own")
def test_stages_of_the_start(benchmark):
    """Those of TensorFlow's import and of the tracing take long in every start."""
    found, written = benchmark("startup", "--rounds", "1", "--profile")
    for start in ("first start", "second start"):
        assert all(seconds[0] > -0.01 for seconds in found[start].values())
        assert found[start]["import of TensorFlow and Keras"][0] > 1
        assert found[start]["step, traced"][0] > 0.1
    assert "| stage, s | first start | second start |" in written


@LONG
@pytest.mark.slow(reason="programs run in processes of their own")
def test_monitors(benchmark):
    arguments = ["--batch", "4", "--bank", "40", "--queries", "20", "--rounds", "2"]
    found, written = benchmark("monitors", *arguments)
    averaged = ["readings, averaged weights", "readings and probe, averaged weights"]
    assert list(found) == ["bare", "readings", "readings and probe", *averaged, "kNN"]
    assert all(row["median"] > 0 for row in found.values())
    assert "| bare |" in written


@pytest.mark.slow(reason="programs run in processes of their own")
def test_normalizer(benchmark):
    found, written = benchmark("normalizer", "--examples", "60", "--width", "8", "--batch", "6")
    assert [row["batch"] for row in found] == [None, 6]
    assert all(row["seconds"] > 0 and row["peak"] > 2**27 for row in found)
    assert "| 60 | batches of 6 |" in written


@pytest.mark.slow(reason="programs run in processes of their own")
def test_input(benchmark):
    arguments = ["--size", "32", "--rounds", "2", "--seconds", "0.1"]
    found, written = benchmark("input", *arguments)
    speeds = found["sizes"]["32"]
    assert {"tf.image", "all: sogclr_tf"} <= speeds.keys()
    assert all(len(turns) == 2 and min(turns) > 0 for turns in speeds.values())
    assert "| all: sogclr_tf |" in written


@pytest.mark.slow(reason="programs run in processes of their own")
def test_files(benchmark):
    options = ["--kinds", "TIFF", "13 bands, TIFF, deflate", "--rounds", "1", "--seconds", "0.1"]
    found, written = benchmark("files", *options)
    assert list(found["kinds"]) == ["JPEG, folder", *options[1:3]]
    assert all(min(turns) > 0 for turns in found["kinds"].values())
    assert "| 13 bands, TIFF, deflate |" in written


@pytest.mark.slow(reason="programs run in processes of their own")
def test_photographs(benchmark):
    options = ["--megapixels", "0.3", "--parts", "speed", "--rounds", "1", "--images", "2"]
    found, written = benchmark("photographs", *options)
    for turns in found["speed"]["0.3"].values():
        assert all(rate > 0 for way in ("whole", "scaled") for rate, _ in turns[way])
    assert "| 0.3 | evaluation |" in written


@pytest.mark.usefixtures("tools")
def test_a_table_goes_to_its_place_on_the_page(tmp_path):
    from benchmarks import report

    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- figures: loss -->\nold\n<!-- end -->\nb\n<!-- figures: x -->\n<!-- end -->\n"
    )
    report.write_page(page, "loss", "| 1 |")
    text = page.read_text()
    assert text.startswith(
        "a\n<!-- figures: loss -->\n\n| 1 |\n<!-- end -->\nb\n<!-- figures: x -->"
    )
    with pytest.raises(ValueError, match="has no place '<!-- figures: step -->'"):
        report.write_page(page, "step", "| 1 |")


@pytest.mark.usefixtures("tools")
def test_the_same_network_in_pytorch():
    pytest.importorskip("torch")
    from benchmarks import bare
    from benchmarks.torch_network import Network

    from sogclr_tf.networks.encoders import build_encoder

    for name in ("resnet18", "resnet50"):
        encoder = build_encoder(name, (32, 32, 3), stem="cifar")
        head = sogclr_tf.projection_head(encoder.output_shape[-1])
        ours = sum(
            weight.shape.num_elements()
            for part in (encoder, head)
            for weight in part.trainable_variables
        )
        network = Network(**bare.layout(types.SimpleNamespace(encoder=name)))
        theirs = sum(weight.numel() for weight in network.parameters())
        assert theirs == ours


@pytest.mark.slow(reason="programs run in processes of their own")
def test_serving(benchmark):
    small = ["--encoder", "small_resnet", "--size", "16", "--rounds", "2", "--seconds", "0"]
    found, written = benchmark("serving", *small, "--batch", "1", "2")
    calls = {"Keras model", "serving_default", "serving_bytes", "decoding alone"}
    assert {(row["call"], row["batch"]) for row in found} == {(c, b) for c in calls for b in (1, 2)}
    assert all(row["median"] > 0 for row in found)
    assert "| serving_bytes | 2 |" in written
