"""Objectives that are asked for by name."""

import pytest
from support.objectives import build


class TestByName:
    def test_unknown_name_lists_the_valid_ones(self):
        with pytest.raises(
            ValueError, match="unknown loss 'moco': choose one of clip, dcl, isogclr, siglip"
        ):
            build("moco")

    def test_unknown_option_lists_the_valid_ones(self):
        with pytest.raises(ValueError, match="no option 'gama': it takes temperature, gamma"):
            build("sogclr", gama=1)
