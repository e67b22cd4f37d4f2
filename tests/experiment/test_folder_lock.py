"""One process at a time in a folder: real processes, real kills, and disks that others share."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from support.exhaustive import exhaustive

from sogclr_tf.experiment.folder_lock import FolderInUse, FolderLock
from sogclr_tf.experiment.lock_holder import Holder

# Takes the lock of the folder it runs in, at the time argv[2], says so, and holds it for argv[1]
# seconds.
HOLD = """
import pathlib, sys, time
from sogclr_tf.experiment.folder_lock import FolderInUse, FolderLock
at = float(sys.argv[2])
time.sleep(max(0, at - time.monotonic() - 0.02))
# Awake, so that it takes it at the same time as others and not when it is its turn to wake.
while time.monotonic() < at:
    pass
try:
    with FolderLock(pathlib.Path("run.lock"), beat=0.2, patience=1.0):
        print("held", time.monotonic(), flush=True)
        time.sleep(float(sys.argv[1]))
        print("left", time.monotonic(), flush=True)
except FolderInUse as error:
    print("refused", error, flush=True)
"""

# Takes it again and again, and notes when it is in and when it is out.
AGAIN = """
import os, pathlib, random, time
from sogclr_tf.experiment.folder_lock import FolderInUse, FolderLock
log = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
while True:
    try:
        with FolderLock(pathlib.Path("run.lock")):
            os.write(log, f"in {os.getpid()}\\n".encode())
            time.sleep(random.uniform(0, 0.02))
            os.write(log, f"out {os.getpid()}\\n".encode())
    except FolderInUse:
        time.sleep(0.005)
"""


def start(folder, seconds=60, at=0.0, before=()):
    """A process that holds the lock of a folder, if it gets it."""
    return subprocess.Popen(
        [*before, sys.executable, "-c", HOLD, str(seconds), str(at)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process):
    return process.stdout.readline().strip()


def abandon(path, changed_ago, **differences):
    """A lock that nobody holds, of a process that was on another host unless told otherwise."""
    lock = {"host": "node7", "pid": os.getpid(), "since": "Monday", "process": "x", "place": "x"}
    path.write_text(json.dumps({**lock, "token": "old", **differences}))
    past = time.time() - changed_ago
    os.utime(path, (past, past))
    return path


class TestOnThisMachine:
    def test_the_file_says_who_and_goes_away(self, tmp_path):
        path = tmp_path / "run.lock"
        with FolderLock(path):
            found = json.loads(path.read_text())
            assert found["pid"] == os.getpid()
            assert found["host"] == os.uname().nodename
            assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", found["since"])
        assert os.listdir(tmp_path) == []

    def test_an_error_gives_it_back(self, tmp_path):
        with pytest.raises(ZeroDivisionError), FolderLock(tmp_path / "run.lock"):
            raise ZeroDivisionError
        assert os.listdir(tmp_path) == []

    def test_a_second_process_is_refused_and_one_that_was_killed_does_not_block(self, tmp_path):
        process = start(tmp_path)
        assert said(process).startswith("held")
        host = os.uname().nodename
        with pytest.raises(FolderInUse) as refused, FolderLock(tmp_path / "run.lock"):
            pass
        (line,) = str(refused.value).splitlines()
        who = rf"is in use by process {process.pid} on {re.escape(host)} since \d{{4}}-\d\d-\d\d "
        assert re.search(who, line)
        assert line.endswith("wait until it ends, stop it, or choose another --workdir")
        process.send_signal(signal.SIGKILL)
        # Nobody has waited for it: it is a zombie, whose number still exists.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with FolderLock(tmp_path / "run.lock"):
            pass
        process.communicate()
        assert os.listdir(tmp_path) == []

    def test_a_number_that_is_another_processs_by_now(self, tmp_path):
        """As in a container that was started again: this very number, but another start."""
        mine = Holder.me()
        path = abandon(tmp_path / "run.lock", 0, place=mine.place, process="started at tick 1")
        with FolderLock(path):
            assert json.loads(path.read_text())["process"] == mine.process

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 3}'])
    def test_a_file_that_says_nothing(self, tmp_path, content):
        path = tmp_path / "run.lock"
        path.write_text(content)
        os.utime(path, (0, 0))
        with FolderLock(path, beat=0.05):
            assert json.loads(path.read_text())["pid"] == os.getpid()

    def test_a_disk_without_links(self, tmp_path, monkeypatch):
        def none(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", none)
        with FolderLock(tmp_path / "run.lock"):
            with pytest.raises(FolderInUse), FolderLock(tmp_path / "run.lock"):
                pass
            assert os.listdir(tmp_path) == ["run.lock"]
        assert os.listdir(tmp_path) == []

    def test_what_a_killed_successor_left(self, tmp_path):
        """Killed while it took a stale lock over: before it wrote its own, and after."""
        path = abandon(tmp_path / "run.lock", 0, place=Holder.me().place)
        abandon(tmp_path / "run.lock.old", 0, place=Holder.me().place, token="older")
        abandon(tmp_path / "run.lock.gone", 0, place=Holder.me().place, token="oldest")
        with FolderLock(path):
            assert os.listdir(tmp_path) == ["run.lock"]


class TestElsewhere:
    """Processes that cannot be looked up from here."""

    def test_signs_of_life_refuse(self, tmp_path, monkeypatch):
        path = tmp_path / "run.lock"
        held = FolderLock(path, beat=0.1)
        with monkeypatch.context() as there:
            there.setattr(socket, "gethostname", lambda: "node7")
            held.__enter__()
        with pytest.raises(FolderInUse) as refused, FolderLock(path, beat=1, patience=3):
            pass
        assert f"process {os.getpid()} on node7 since" in str(refused.value)
        assert str(refused.value).endswith(f"(if no such process runs there, remove {path})")
        held.__exit__()
        assert os.listdir(tmp_path) == []

    def test_silence_is_waited_out(self, tmp_path):
        path = abandon(tmp_path / "run.lock", changed_ago=1.5)
        began = time.monotonic()
        with FolderLock(path, beat=0.1, patience=2):
            assert 0.3 < time.monotonic() - began < 20

    def test_times_that_are_not_the_disks_own(self, tmp_path):
        """The clock of the holder's host is an hour behind, and so are the times it leaves."""
        path = abandon(tmp_path / "run.lock", changed_ago=3600)
        timer = threading.Timer(0.2, lambda: os.utime(path, (time.time() - 3599,) * 2))
        timer.start()
        with pytest.raises(FolderInUse), FolderLock(path, beat=0.5, patience=10):
            pass
        timer.join()

    def test_a_file_that_is_removed_frees_it(self, tmp_path):
        path, began = abandon(tmp_path / "run.lock", changed_ago=0), time.monotonic()
        threading.Timer(0.2, path.unlink).start()
        with FolderLock(path, beat=0.1, patience=5):
            assert time.monotonic() - began < 4

    def test_one_that_was_given_up_ends_when_it_wakes(self, tmp_path):
        """Asleep for longer than the patience of others, it finds the lock another's."""
        process = start(tmp_path, before=["unshare", "--fork", "--pid", "--mount-proc"])
        line = said(process)
        if not line.startswith("held"):
            process.kill()
            pytest.skip("no rights to unshare process numbers")
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            child = int(file.read())
        os.kill(child, signal.SIGSTOP)
        with FolderLock(tmp_path / "run.lock", beat=0.2, patience=1.0):
            os.kill(child, signal.SIGCONT)
            assert process.wait(timeout=20) == 1
            assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


@pytest.mark.slow(reason="rounds of eight processes")
@pytest.mark.parametrize("left", ["nothing", "of this machine", "of another host", "half broken"])
def test_of_many_at_once_one_wins(tmp_path, left):
    for number in range(exhaustive(4, 10)):
        folder = tmp_path / str(number)
        folder.mkdir()
        place = Holder.me().place
        if left == "of this machine":
            abandon(folder / "run.lock", 0, place=place)
        if left == "of another host":
            abandon(folder / "run.lock", 3600)
        if left == "half broken":
            abandon(folder / "run.lock", 0, place=place)
            abandon(folder / "run.lock.old", 0, place=place, token="older")
        at = time.monotonic() + 1.5
        several = [start(folder, 0.7, at) for _ in range(8)]
        lines = [process.communicate()[0].splitlines() for process in several]
        spans = [[float(line.split()[1]) for line in said] for said in lines if len(said) == 2]
        # Whoever came when the first was done may have had it too, but never beside another.
        assert spans
        spans.sort()
        assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))
        refused = [said for said in lines if said[0].startswith("refused")]
        assert len(spans) + len(refused) == 8
        assert os.listdir(folder) == []


@pytest.mark.slow(reason="processes that are killed at random, for half a minute")
def test_kills_at_random_never_leave_two_or_none(tmp_path):
    """Once another one is in, nothing more may come of who was in before."""

    def another():
        return subprocess.Popen([sys.executable, "-c", AGAIN], cwd=tmp_path)

    several, end = [another() for _ in range(6)], time.monotonic() + 25
    while time.monotonic() < end:
        time.sleep(0.3)
        several[0].kill()
        several[0].wait()
        several = [*several[1:], another()]
    for process in several:
        process.kill()
        process.wait()
    inside, over, entered = None, set(), 0
    for line in (tmp_path / "log").read_text().splitlines():
        what, pid = line.split()
        assert pid not in over
        if what == "in":
            if inside is not None:
                over.add(inside)
            inside, entered = pid, entered + 1
        else:
            assert inside == pid
            inside = None
    assert entered > 50
    with FolderLock(tmp_path / "run.lock"):
        pass
