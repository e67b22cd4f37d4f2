"""What may be shown on a terminal."""

import logging
import sys

import pytest

from sogclr_tf import terminal
from sogclr_tf.experiment.verbosity import verbosity


@pytest.fixture
def on_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)


@pytest.fixture
def quiet():
    log = logging.getLogger("sogclr_tf")
    level = log.level
    log.setLevel(logging.WARNING)
    yield
    log.setLevel(level)


@pytest.mark.usefixtures("on_terminal")
def test_errors_are_red_on_a_terminal(monkeypatch):
    assert terminal.error_message("no such file") == "\033[1;31merror:\033[0m no such file"
    monkeypatch.setenv("TERM", "dumb")
    assert terminal.error_message("no such file") == "error: no such file"


@pytest.mark.usefixtures("on_terminal")
def test_no_color_is_honored(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.error_message("no such file") == "error: no such file"


def test_errors_have_no_color_elsewhere(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert terminal.error_message("no such file") == "error: no such file"


@pytest.mark.usefixtures("on_terminal")
def test_a_terminal_has_bars():
    assert terminal.has_bar()
    assert (verbosity(), verbosity(chief=False)) == (1, 0)


@pytest.mark.usefixtures("on_terminal", "quiet")
def test_quiet_has_none():
    assert not terminal.has_bar()
    assert verbosity() == 0


def test_a_file_gets_lines(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert not terminal.has_bar()
    assert verbosity() == 2
