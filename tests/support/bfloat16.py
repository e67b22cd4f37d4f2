"""Where the processor's bfloat16 may be used.

TensorFlow asks the processor whether it computes in bfloat16, and oneDNN obeys
`ONEDNN_MAX_CPU_ISA`: where the two disagree, a matrix product in bfloat16 aborts the process.
"""

import os

import pytest

WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}

needs_bfloat16 = pytest.mark.skipif(
    os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in WITHOUT_BFLOAT16,
    reason="oneDNN, kept from the processor's bfloat16 by ONEDNN_MAX_CPU_ISA, aborts in it",
)
