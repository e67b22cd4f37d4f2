"""What the README and the guides show is run as it is printed."""

import json
import os
import pkgutil
import re
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from support import processes, tars
from support.files import write_folder, write_shards, write_table
from support.paths import ROOT

import sogclr_tf
from sogclr_tf.experiment.config import default_config
from sogclr_tf.experiment.config_keys import flat_keys
from sogclr_tf.networks.encoders import encoder_names, encoder_options

README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
GUIDES = {path.stem: path.read_text() for path in sorted(DOCS.glob("*.md"))}


def snippets(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def fresh(*arguments, cwd):
    """The finished process of an interpreter that has imported nothing."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def run_python(program, cwd, count, run=processes.run):
    """Runs it on `count` random images, for one epoch instead of 100."""
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    np.save(cwd / "my_images.npy", images)
    np.save(cwd / "my_labels.npy", np.arange(count) % 10)
    quick = program.replace("epochs=100", "epochs=1")
    assert quick != program
    process = run("-c", quick, cwd=cwd)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow(reason="programs run in processes of their own")
def test_own_images_and_exports(tmp_path):
    program = "".join(snippets(README, "python")) + "".join(snippets(GUIDES["resume"], "python"))
    run_python(program, tmp_path, count=130, run=fresh)
    assert (tmp_path / "my_encoder" / "1" / "saved_model.pb").exists()
    assert (tmp_path / "encoder.keras").exists()
    assert (tmp_path / "checkpoints" / "step-4.index").exists()


@pytest.mark.slow(reason="programs run in processes of their own")
def test_losses_and_replacements(tmp_path):
    pages = [GUIDES[name] for name in ("choosing", "objectives", "tensorflow_addons", "recipes")]
    run_python("".join("".join(snippets(page, "python")) for page in pages), tmp_path, count=130)


@pytest.mark.slow(reason="programs run in processes of their own")
def test_probe_and_monitor(tmp_path):
    run_python("".join(snippets(GUIDES["evaluation"], "python")), tmp_path, count=228)


@pytest.mark.slow(reason="programs run in processes of their own")
def test_strategy_from_python(tmp_path):
    two_devices = (
        "import tensorflow as tf\n"
        "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0],\n"
        "    [tf.config.LogicalDeviceConfiguration()] * 2)\n"
    )
    (program,) = snippets(GUIDES["strategies"], "python")
    run_python(two_devices + program, tmp_path, count=513)
    assert (tmp_path / "checkpoints" / "step-2.index").exists()


@pytest.mark.slow(reason="programs run in processes of their own")
def test_an_encoder_of_ones_own(tmp_path):
    run_python("".join(snippets(GUIDES["encoders"], "python")), tmp_path, count=64)


def test_a_function_of_ones_own(tmp_path, monkeypatch):
    """As `docs/encoders.md` prints it."""
    (snippet,) = (text for text in snippets(GUIDES["encoders"], "python") if "def build(" in text)
    (tmp_path / "my_networks.py").write_text(snippet)
    monkeypatch.syspath_prepend(tmp_path)
    encoder = sogclr_tf.build_encoder("my_networks:build", (16, 16, 3), width=4)
    assert encoder.output_shape == (None, 8)


@pytest.mark.slow(reason="programs run in processes of their own")
def test_own_pairs(tmp_path):
    captions = [f"a {kind} {number}" for number, kind in enumerate(["dog", "house"] * 65)]
    (tmp_path / "my_captions.json").write_text(json.dumps(captions))
    run_python("".join(snippets(GUIDES["image_text"], "python")), tmp_path, count=130)
    for side in ("image", "text"):
        assert (tmp_path / "my_towers" / side / "1" / "saved_model.pb").exists()


DOTTED = re.compile(r"`([a-z_]+(?:\.\w+)+)`")


@pytest.mark.parametrize("name", sorted(set(DOTTED.findall(GUIDES["method"]))))
def test_the_method_names_what_exists(name):
    assert callable(pkgutil.resolve_name(f"sogclr_tf.{name}"))


def write_other_kinds(folder):
    """X-rays of 12 bits, scenes of 13 bands and spectrograms."""
    random = np.random.default_rng(1)
    write_folder(folder / "xrays", random.integers(0, 4096, (70, 32, 32, 1), np.uint16))
    for name in ("scenes", "spectrograms"):
        (folder / name).mkdir()
    for number in range(70):
        scene = random.integers(0, 10_001, (40, 50, 13), np.uint16)
        options = {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"}
        tifffile.imwrite(folder / "scenes" / f"{number}.tif", scene, **options)
        np.save(folder / "spectrograms" / f"{number}.npy", random.uniform(-80, 0, (40, 120)))


@pytest.mark.slow(reason="programs run in processes of their own")
def test_own_collections(tmp_path, data_dir):
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    np.save(tmp_path / "my_images.npy", images)
    folder = write_folder(tmp_path / "pets" / "train", images, np.arange(70) % 2)
    paths = [str(path.relative_to(tmp_path)) for path in sorted(folder.rglob("*.png"))]
    write_table(tmp_path / "labels.csv", path=paths, split=["train"] * 69 + ["test"])
    tars.write_shards(tmp_path / "shards", images)
    write_shards(tmp_path / "records", images, np.zeros(70), range(70))
    for path in (tmp_path / "records").iterdir():
        path.rename(path.with_name(path.name.replace("part", "train")))
    (tmp_path / "tfds").symlink_to(data_dir)
    write_other_kinds(tmp_path)
    # Each makes a stream; to draw one batch of it is to run it.
    draw = "next(iter(views.stream()))\n"
    program = draw.join([*snippets(GUIDES["data"], "python"), ""])
    process = processes.run("-c", program, cwd=tmp_path)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow(reason="programs run in processes of their own")
def test_augmentations(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    np.save(tmp_path / "my_images.npy", images)
    draw = "next(iter(views.stream()))\n"
    program = draw.join([*snippets(GUIDES["augmentation"], "python"), ""])
    process = processes.run("-c", program, cwd=tmp_path)
    assert process.returncode == 0, process.stderr


def test_keys_in_commands_exist():
    known = set(flat_keys(default_config()))
    for name in encoder_names():
        known |= {f"encoder.{option}" for option in encoder_options(name) or ()}
    # Of the function that docs/encoders.md shows, and of any.
    known |= {"encoder.width", "encoder.KEY", "KEY"}
    for page in (README, *GUIDES.values()):
        for key in re.findall(r"--config\.([\w.]+)=", page):
            assert key in known, key


@pytest.fixture
def slurm(tmp_path):
    """The script for SLURM, run with stand-ins for its commands: (process, folder of calls)."""
    (script,) = snippets(GUIDES["strategies"], "bash")
    stand_ins = {
        "scontrol": 'case $1 in show) printf "node1\\nnode2\\n";; *) echo $@ > requeued;; esac',
        "srun": 'for i in 0 1; do SLURM_PROCID=$i "$@"; done',
        "python": "printenv TF_CONFIG > config-$SLURM_PROCID; echo $@ > command; exit 75",
    }
    for name, body in stand_ins.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    process = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment)
    return process, tmp_path


def test_slurm_script_names_the_workers_and_requeues(slurm):
    process, folder = slurm
    assert process.returncode == 75
    assert (folder / "requeued").read_text() == "requeue 7\n"
    for index in range(2):
        assert json.loads((folder / f"config-{index}").read_text()) == {
            "cluster": {"worker": ["node1:2222", "node2:2222"]},
            "task": {"type": "worker", "index": index},
        }
    assert (folder / "command").read_text().startswith("-m sogclr_tf.run --strategy=multiworker")


def test_the_readme_is_short():
    assert len(README.split()) <= 1_300


def test_every_config_is_in_the_recipe_table():
    for path in (ROOT / "configs").glob("*.py"):
        assert f"configs/{path.name}" in GUIDES["recipes"], path.name


def test_the_test_command_is_what_ci_runs():
    command = re.search(r"^(python3 -m venv .*pytest.*)$", README, re.MULTILINE).group(1)
    assert command in (ROOT / ".ci" / "run").read_text()
