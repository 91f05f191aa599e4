# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What an image of one's own may begin with, and which packages the work at hand usually needs.

Tags are pinned so that an image is the same when it is built again; ``--framework NAME:TAG`` and ``--base`` take any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Framework:
    """A base image with Python and pip in it; ``packages`` are installed on top where the base has no such framework itself."""

    repository: str
    tag: str
    meaning: str
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preset:
    """The packages of a field of work."""

    meaning: str
    packages: tuple[str, ...]


FRAMEWORKS: Mapping[str, Framework] = MappingProxyType(
    {
        "pytorch": Framework("pytorch/pytorch", "2.5.1-cuda12.4-cudnn9-runtime", "PyTorch with CUDA"),
        "tensorflow": Framework("tensorflow/tensorflow", "2.18.0-gpu", "TensorFlow with CUDA"),
        "jax": Framework("python", "3.12-slim", "JAX; its CUDA comes with the package", ("jax[cuda12]",)),
        "python": Framework("python", "3.12-slim", "Python alone, for work without a GPU"),
    }
)
DEFAULT_FRAMEWORK = "pytorch"

_CORE = ("ipykernel", "jupyterlab", "matplotlib", "numpy", "pandas", "tqdm")

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "ml": Preset("tables and classical machine learning", (*_CORE, "scikit-learn", "scipy", "seaborn", "tensorboard")),
        "cv": Preset("images and video", (*_CORE, "albumentations", "opencv-python-headless", "pillow", "timm")),
        "nlp": Preset("text", (*_CORE, "datasets", "evaluate", "sentencepiece", "tokenizers", "transformers")),
        "llm": Preset("large language models", (*_CORE, "accelerate", "datasets", "peft", "sentencepiece", "transformers", "trl")),
    }
)
