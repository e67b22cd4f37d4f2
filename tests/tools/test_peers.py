"""Peers in the same run: environments, processes that take turns, rows of what cannot be had."""

import argparse
import json
import pathlib
import sys
import textwrap
import types

import pytest
from support.paths import ROOT

TOOLS = ROOT / "tools"


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    """The folder of the benchmarks, from which they can be imported."""
    monkeypatch.syspath_prepend(TOOLS)


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Modules for workers: one works, one lacks something, one ends at its third turn."""
    (tmp_path / "well.py").write_text(
        textwrap.dedent("""
            from benchmarks import turns
            def work(images):
                print("what libraries say stands in nobody's way")
                return turns.steps(lambda: None, images)
            """)
    )
    (tmp_path / "lacking.py").write_text("import no_such_peer\n")
    (tmp_path / "ending.py").write_text(
        textwrap.dedent("""
            import itertools, os
            from benchmarks import turns
            def work():
                turn = itertools.count()
                def start():
                    if next(turn) == 3: os._exit(7)
                    return iter(lambda: None, 0)
                return turns.Work(start, 1, 0)
            """)
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def contender(name, module, here=True, **arguments):
    from benchmarks import peers

    def missing():
        raise peers.PeerMissingError("it is on no index")

    return peers.Contender(name, peers.here if here else missing, (module, "work", arguments))


def options(rounds=4):
    return types.SimpleNamespace(rounds=rounds, seconds=0.0)


@pytest.fixture
def as_before():
    """Flags that are defined and parsed meanwhile are so no longer."""
    from absl import flags

    was_parsed = flags.FLAGS.is_parsed()
    yield
    if "color_jitter_strength" in flags.FLAGS:
        delattr(flags.FLAGS, "color_jitter_strength")
    if not was_parsed:
        flags.FLAGS.unparse_flags()


def parsed(*arguments):
    from benchmarks import peers

    parser = argparse.ArgumentParser()
    peers.add_arguments(parser)
    return parser.parse_args(arguments)


class TestEnvironment:
    @pytest.fixture
    def requirements(self, tmp_path):
        (tmp_path / "torch.txt").write_text("torch==2.13.0\n")
        return tmp_path

    def test_is_kept_while_its_requirements_are_the_same(self, requirements, tmp_path):
        from benchmarks.peers import environments

        made = tmp_path / "made" / "torch"
        made.mkdir(parents=True)
        digest = environments.digest("torch", requirements)
        (made / "requirements.sha256").write_text(digest)
        python = environments.python("torch", made.parent, requirements)
        assert python == made / "bin" / "python"
        (requirements / "torch.txt").write_text("torch==2.14.0\n")
        assert environments.digest("torch", requirements) != digest

    def test_that_cannot_be_made_says_why(self, requirements):
        from benchmarks.peers import environments

        in_a_file = requirements / "torch.txt"
        with pytest.raises(environments.PeerMissingError, match="^not installed: .*torch.txt"):
            environments.python("torch", in_a_file, requirements)

    def test_every_package_has_one_version(self):
        from benchmarks.peers import environments

        for steps in environments.STEPS.values():
            for file, _ in steps:
                lines = (environments.REQUIREMENTS / file).read_text().splitlines()
                asked = [line for line in lines if not line.startswith("#")]
                assert asked
                assert all(line.count("==") == 1 for line in asked)


@pytest.mark.usefixtures("stand_ins")
class TestTurns:
    def test_peers_that_are_missing_or_end_stop_nothing(self):
        from benchmarks import peers

        contenders = [
            contender("ours", "well", images=8),
            contender("on no index", "well", here=False),
            contender("lacking", "lacking"),
            contender("ending", "ending"),
            contender("theirs", "well", images=2),
        ]
        timings, missing = peers.measured(contenders, options(), {})
        assert list(timings) == ["ours", "theirs"]
        for each in timings.values():
            assert len(each.rounds) == 4
            assert min(each.rounds) > 0
        assert missing == {
            "on no index": "it is on no index",
            "lacking": "ended with 1: ModuleNotFoundError: No module named 'no_such_peer'",
            "ending": "ended with 7: nothing was said",
        }
        row = peers.cells("work", "ending", timings, missing)
        assert row == ["work", "ending", "not measured: ended with 7: nothing was said", "", ""]
        assert peers.cells("work", "ours", timings, missing)[-1] == "1.000 (1.000 to 1.000)"

    def test_ours_must_be_measured(self):
        from benchmarks import peers

        with pytest.raises(RuntimeError, match="ours was not measured: .*no_such_peer"):
            peers.measured([contender("ours", "lacking")], options(), {})

    def test_a_turn_counts_images(self):
        from benchmarks.peers import workers

        with workers.working(sys.executable, "well", "work", {"images": 1}) as one:
            few = one.turn(0.05)
        with workers.working(sys.executable, "well", "work", {"images": 1000}) as one:
            many = one.turn(0.05)
        assert many < few / 100


def test_other_environments_see_no_package_of_this_one(monkeypatch, tmp_path):
    from benchmarks.peers import workers

    (tmp_path / "only_here.py").write_text("def work(): raise SystemExit")
    python = pathlib.Path(tmp_path, "python")
    python.symlink_to(sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        pytest.raises(workers.PeerMissingError, match="No module named 'only_here'"),
        workers.working(python, "only_here", "work", {}),
    ):
        pass


class TestCheckout:
    def test_is_asked_for(self, tmp_path):
        from benchmarks import peers

        with pytest.raises(peers.PeerMissingError, match="--simclr=DIR"):
            peers.checkout(None)()
        with pytest.raises(peers.PeerMissingError, match="has no tf2/data_util.py"):
            peers.checkout(tmp_path)()
        assert peers.checkout(checkout(tmp_path))() == sys.executable

    @pytest.mark.usefixtures("as_before")
    @pytest.mark.parametrize("by_flag", [True, False])
    def test_color_is_as_strong_as_asked(self, by_flag):
        """Both of the interfaces that `preprocess_image` has had."""
        from absl import flags
        from benchmarks.peers import simclr

        def with_flag(image, height, width, is_training=False):
            return image, height, width, is_training, flags.FLAGS.color_jitter_strength

        def with_argument(image, height, width, is_training=False, color_jitter_strength=0.0):
            return image, height, width, is_training, color_jitter_strength

        function = with_flag if by_flag else with_argument
        module = types.SimpleNamespace(preprocess_image=function)
        for strength in (0.5, 1.0):
            view = simclr.preprocessing(module, 32, strength)
            assert view("an image") == ("an image", 32, 32, True, strength)


def checkout(folder):
    """A folder with the interface of google-research/simclr's pipeline, which only resizes."""
    module = folder / "tf2" / "data_util.py"
    module.parent.mkdir()
    module.write_text(
        textwrap.dedent("""
            import tensorflow as tf
            from absl import flags

            def preprocess_image(image, height, width, is_training=False, color_distort=True,
                                 test_crop=True):
                assert is_training and flags.FLAGS.color_jitter_strength in (0.5, 1.0)
                image = tf.image.convert_image_dtype(image, tf.float32)
                return tf.ensure_shape(tf.image.resize(image, [height, width]), [height, width, 3])

            def batch_random_blur(images_list, height, width, blur_probability=0.5):
                for images in images_list:
                    images.shape.assert_is_compatible_with([None, height, width, 3])
                return [images * blur_probability for images in images_list]
            """)
    )
    return folder


@pytest.mark.slow(reason="pipelines are traced")
@pytest.mark.usefixtures("as_before")
def test_blur_is_of_whole_batches(tmp_path, monkeypatch):
    from benchmarks.peers import simclr

    monkeypatch.delitem(sys.modules, "data_util", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = str(checkout(tmp_path))
    made = [next(simclr.views(folder, 32, 0.5, blur).start()) for blur in (0.0, 0.5)]
    for plain, blurred in zip(*made, strict=True):
        assert plain.shape == (128, 32, 32, 3)
        assert (0.5 * plain.numpy() == blurred.numpy()).all()


@pytest.mark.slow(reason="programs run in processes of their own")
def test_the_command(tmp_path, capsys):
    import benchmark

    arguments = ["--only", "input", "--size", "32", "--rounds", "2", "--seconds", "0"]
    kept = tmp_path / "found"
    benchmark.main(["peers", *arguments, "--simclr", str(checkout(tmp_path)), "--json", str(kept)])
    found = json.loads(kept.read_text())["found"]["views of 32x32"]
    assert all(found[whose]["median"] > 0 for whose in ("sogclr_tf", "google-research/simclr"))
    assert "| views of 32x32 | google-research/simclr |" in capsys.readouterr().out


def test_the_network_and_sizes_come_from_the_command_line():
    from benchmarks import peers

    given = parsed("--encoder", "small_resnet", "--widths", "4", "8", "--batch", "16")
    ((_, (ours, theirs)),) = peers.steps(given)
    assert ours.work[2]["widths"] == theirs.work[2]["layout"]["widths"] == [4, 8]
    assert ours.work[2]["batch"] == theirs.work[2]["batch"] == 16
    assert [title for title, _ in peers.pipelines(parsed("--size", "32"))] == ["views of 32x32"]
    assert len(list(peers.pipelines(parsed()))) == 3
