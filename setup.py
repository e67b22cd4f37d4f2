"""Installation. TensorFlow is chosen by an extra: pip install "sogclr_tf[cpu]", [gpu] or [tpu]."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION_FILE = (HERE / "sogclr_tf" / "version.py").read_text()
VERSION = re.search(r'__version__ = "(.+)"', VERSION_FILE).group(1)

# Not pinned to one release: the newest tensorflow-tpu is 2.20.
TENSORFLOW = ">=2.20,<2.22"

DOCS = ["mkdocs-material>=9.8,<10", "mkdocstrings[python]", "mkdocs-jupyter"]

setup(
    name="sogclr_tf",
    version=VERSION,
    description="Global contrastive learning at small batch (SogCLR) for TensorFlow and Keras",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        *("contrastive learning", "self-supervised learning", "representation learning"),
        *("SogCLR", "SimCLR", "CLIP", "small batch", "TensorFlow", "Keras"),
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[*find_packages(include=["sogclr_tf", "sogclr_tf.*"]), "sogclr_tf.configs"],
    package_data={"sogclr_tf": ["py.typed", "__init__.pyi"]},
    package_dir={"sogclr_tf.configs": "configs"},
    install_requires=[
        "keras>=3.10",
        "tensorflow-datasets>=4.9",
        "importlib_resources",  # which tensorflow-datasets imports where it prepares a set
        "absl-py",
        "lazy_loader>=0.4",
        "ml_collections>=1.0",
        "matplotlib",
        "numpy",
        "pillow>=11.3",  # the first with a decoder of AVIF
        "pyarrow",
        "scikit-learn",
        "tensorboard>=2.20",
        "threadpoolctl",
    ],
    extras_require={
        "cpu": [f"tensorflow-cpu{TENSORFLOW}"],
        "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
        "tpu": [f"tensorflow-tpu{TENSORFLOW}"],
        # Asks for the package tensorflow itself: beside [cpu] install it with --no-deps instead.
        "serving": [f"tensorflow-serving-api{TENSORFLOW}"],
        "weights": ["safetensors"],
        # Trains subwords of texts; what was trained is applied without it.
        "text": ["tokenizers"],
        # Of image files that TensorFlow has no decoder for.
        "tiff": ["tifffile", "imagecodecs"],
        "heif": ["pillow-heif"],
        "peers": ["torch"],
        # For tools/compile_for_tpu.py, in an environment of its own: it holds a TPU's runtime.
        "tpu-compiler": ["jax==0.10.2", "libtpu==0.0.52"],
        # The documentation site: mkdocs serve.
        "docs": DOCS,
        "test": [
            *DOCS,
            *("hypothesis", "pytest", "pytest-xdist", "safetensors", "scipy", "tokenizers"),
            *("imagecodecs", "pillow-heif", "tifffile"),
            *("ipykernel", "nbclient", "nbformat"),
            # The wheel is built in the environment that the tests run in.
            *("build", "setuptools>=77"),
            *("codespell", "import-linter", "mypy", "ruff"),
        ],
    },
)
