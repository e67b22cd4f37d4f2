"""What is read off a compiled program, on lines as the compiler writes them."""

import pytest
from support import tpu_compiler  # noqa: F401
from tpu_compiler import hlo_text, report
from tpu_compiler.chips import chip_of
from tpu_compiler.hlo_text import Exchange

HEADER = "HloModule step, input_output_alias={ {1}: (4, {}, may-alias), {2}: (7, {}, must-alias) }"
ONE = (
    "  %all-reduce.1 = s32[8,32]{1,0:T(8,128)S(1)} all-reduce(%x), replica_groups={{0,1}}, "
    'metadata={op_name="exchange_gather_1/XlaAllReduce"}'
)
JOINED = (
    "  %all-reduce.2 = (f32[1,64]{1,0:T(1,128)}, bf16[8,2,128]{2,1,0}) all-reduce-start(%a, %b), "
    'metadata={op_name="sogclr/bn/exchange_statistics_gradient/XlaAllReduce"}'
)
DONE = "  %done = (f32[1,64]{1,0}, bf16[8,2,128]{2,1,0}) all-reduce-done(%all-reduce.2)"
USED = "  %get = f32[1,64]{1,0} get-tuple-element(%all-reduce.2), index=0"
OTHER = "  %permute = u8[5]{0} collective-permute(%y), source_target_pairs={{0,1}}"
TEXT = "\n".join([HEADER, ONE, JOINED, DONE, USED, OTHER])


def test_every_message_counts_once():
    assert hlo_text.exchanges(TEXT) == [
        Exchange("all-reduce", "gather", 1, 8 * 32 * 4),
        Exchange("all-reduce", "statistics_gradient", 2, 64 * 4 + 8 * 2 * 128 * 2),
        Exchange("collective-permute", "other", 1, 5),
    ]


def test_by_kind():
    twice = hlo_text.exchanges(f"{TEXT}\n{ONE}")
    assert hlo_text.by_kind(twice)["gather"] == {"messages": 2, "arrays": 2, "bytes": 2048}


def test_aliases():
    assert hlo_text.aliases(TEXT) == {1: 4, 2: 7}
    assert hlo_text.aliases("HloModule without") == {}


def test_copies_of_a_table():
    lines = [
        "  %copy.1 = f32[100]{0:T(1024)} copy(%table)",
        "  %copy-start = (f32[100]{0}, f32[100]{0}, u32[]) copy-start(%table)",
        "  %fusion = f32[100]{0} fusion(%copy.1)",
        "  %copy.2 = f32[1000]{0} copy(%other)",
        "  %in = (f32[100]{0:T(1024)S(1)}, f32[100]{0:T(1024)}, u32[]) copy-start(%table)",
        "  %out = (f32[100]{0:T(1024)}, f32[100]{0:T(1024)S(1)}, u32[]) copy-start(%moved)",
    ]
    assert hlo_text.copies("\n".join(lines), (100,)) == 2


def test_a_chip_that_is_unknown():
    with pytest.raises(ValueError, match="'v9:2x2' names no chip .* v5e, .*"):
        chip_of("v9:2x2")


def test_what_fits():
    def found(batch, total, **more):
        return {
            "topology": "v5e:2x4",
            "batch": batch,
            "hbm": 10,
            "memory": {"total": total},
            **more,
        }

    results = [found(64, 5), found(128, 10), found(256, 11), found(512, 3, error="no")]
    line = "v5e:2x4: the largest global batch that fits, of 64, 128, 256, 512: 128"
    assert report.largest_that_fits(results) == line


def test_the_compilers_words_in_a_table():
    words = (
        "RESOURCE_EXHAUSTED: E1000: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (15.96G) exceeds available HBM (15.75G). HLO module: a | b"
    )
    assert report.short(words) == (
        "total memory required for HLO temporaries (15.96G) exceeds available HBM (15.75G)"
    )
    assert report.short("a | b\nc") == "a / b c"
