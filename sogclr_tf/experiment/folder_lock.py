"""One process at a time writes into a folder: a lock that survives crashes and shared disks."""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import secrets
import threading
import time
from collections.abc import Iterator

from sogclr_tf.experiment.lock_holder import Holder, who
from sogclr_tf.printable import printable

_LOG = logging.getLogger("sogclr_tf")

# Seconds between two signs of life, and without one until a process elsewhere is given up. Many of
# the first fit into the second: a network's disk may be out of reach for a while.
_BEAT, _PATIENCE = 15.0, 300.0
# How long it is watched at least, in beats: a disk may keep the times of hosts, not its own.
_BEATS = 2


class FolderInUse(RuntimeError):  # noqa: N818 - nothing went wrong
    """Another process holds the lock."""


class FolderLock:
    """A lock of a folder, held inside `with`.

        with FolderLock(folder / "run.lock"):
            ...

    Its file, which a person can read, names the process that holds it. The lock of a process of
    this machine that is gone is taken over at once. Of one elsewhere (another host on a shared
    disk, another container) no process can be looked up: the holder moves the file's time of change
    now and then, and whoever wants the lock waits for that, to be refused, or until it has not
    happened for long. Only times of files of that disk are compared, as clocks of hosts differ.

    Args:
        path: of the file; its folder exists.
        beat: seconds between two signs of life.
        patience: seconds without one after which a process elsewhere is given up.
    """

    def __init__(
        self, path: pathlib.Path, *, beat: float = _BEAT, patience: float = _PATIENCE
    ) -> None:
        self.path = path
        self._beat, self._patience = beat, patience
        self._ended = threading.Event()

    def __enter__(self) -> "FolderLock":
        """Takes the lock.

        Raises:
            FolderInUse: another process holds it; in one line who, and what to do.
            OSError: the folder cannot be written to.
        """
        self._mine = Holder.me()
        _take(self.path, self._mine, self._beat, self._patience)
        self._remove_fragments()
        self._ended.clear()
        self._thread = threading.Thread(target=self._show_life, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        # A forked process leaves the lock to its parent.
        if os.getpid() != self._mine.pid:
            return
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if _holds(self.path, self._mine):
                self.path.unlink()

    def _show_life(self) -> None:
        while not self._ended.wait(self._beat):
            # A disk that does not answer for a while is no reason to stop.
            with contextlib.suppress(OSError):
                if _holds(self.path, self._mine) or _create(self.path, self._mine):
                    os.utime(self.path)
                else:
                    self._give_up()

    def _give_up(self) -> None:
        """Ends the process: whatever it wrote from now on would mix with another's files."""
        found = _read(self.path)
        by = who(found[0]) if found else "another process"
        _LOG.error(
            "%s was taken over by %s, as this process gave no sign of life: it ends here",
            printable(self.path.parent),
            by,
        )
        logging.shutdown()
        os._exit(1)

    def _remove_fragments(self) -> None:
        """Removes what those left that were killed while they took a lock over."""
        for path in self.path.parent.glob(f"{self.path.name}.*"):
            # Those of my own are of one that gave me up.
            if not path.name.startswith(f"{self.path.name}.{self._mine.token}"):
                path.unlink(missing_ok=True)


def _take(path: pathlib.Path, mine: Holder, beat: float, patience: float) -> None:
    """Makes a lock this process's own, or raises FolderInUse."""
    while not (_create(path, mine) or _holds(path, mine)):
        found = _read(path)
        if found is None or not _is_stale(path, *found, beat, patience):
            continue
        # Of all that see a stale lock one may replace it, which needs a lock as well: of a name
        # that no later lock has, so that who comes late finds out that it is another one.
        breaking = path.with_name(f"{path.name}.{_token(*found)}")
        try:
            _take(breaking, mine, beat, patience)
        except FolderInUse:
            time.sleep(0.05)
            continue
        try:
            again = _read(path)
            if again is not None and _token(*again) == _token(*found):
                with _written(path, mine) as temporary:
                    os.replace(temporary, path)
                _LOG.info("%s was left by %s: taken over", printable(path), who(found[0]))
                return
        finally:
            breaking.unlink(missing_ok=True)


def _is_stale(
    path: pathlib.Path, holder: Holder | None, changed: int, beat: float, patience: float
) -> bool:
    """True: its holder is gone; False: look again, it has changed.

    Raises:
        FolderInUse: its holder is alive.
    """
    end = None
    while True:
        alive = holder.is_alive() if holder else None
        if alive:
            raise FolderInUse(_refusal(path, holder))
        if alive is False:
            return True
        if end is None:
            silent = (_time_on_disk(path.parent) - changed) / 1e9
            left = min(patience, max(_BEATS * beat, patience - silent))
            end = time.monotonic() + left
            _LOG.info("waiting %.0f s at most for a sign of life of %s", left, who(holder))
        if time.monotonic() >= end:
            return True
        time.sleep(min(1.0, beat / 4))
        now = _read(path)
        if now is None or _token(*now) != _token(holder, changed):
            return False
        if now[1] != changed:
            raise FolderInUse(_refusal(path, holder, sure=False))


def _refusal(path: pathlib.Path, holder: Holder | None, sure: bool = True) -> str:
    line = (
        f"{printable(path.parent)} is in use by {who(holder)}: wait until it ends, stop it, or "
        "choose another --workdir"
    )
    return line if sure else f"{line} (if no such process runs there, remove {printable(path)})"


def _token(holder: Holder | None, changed: int) -> str:
    return holder.token if holder else f"unreadable-{changed}"


def _holds(path: pathlib.Path, mine: Holder) -> bool:
    found = _read(path)
    return found is not None and found[0] is not None and found[0].token == mine.token


def _read(path: pathlib.Path) -> tuple[Holder | None, int] | None:
    """(holder, time of change in ns) of a lock's file, None for one that says nothing readable.

    None where there is no such file.
    """
    try:
        # Opening asks a server anew, where a bare stat may be answered from memory.
        with path.open("rb") as file:
            changed, content = os.fstat(file.fileno()).st_mtime_ns, file.read()
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(content)), changed
    except (ValueError, TypeError):
        return None, changed


def _create(path: pathlib.Path, mine: Holder) -> bool:
    """Writes a lock's file unless there is one; whether it did."""
    with _written(path, mine) as temporary:
        try:
            os.link(temporary, path)
            return True
        except FileExistsError:
            return False
        except OSError:
            pass
        # A disk without links, where others may see the file before it is filled.
        try:
            with path.open("xb") as file:
                file.write(temporary.read_bytes())
            return True
        except FileExistsError:
            return False


@contextlib.contextmanager
def _written(path: pathlib.Path, mine: Holder) -> Iterator[pathlib.Path]:
    """A file beside `path` that says who holds it; gone in the end."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        temporary.write_text(json.dumps(dataclasses.asdict(mine), indent=2) + "\n")
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _time_on_disk(folder: pathlib.Path) -> int:
    """What time it is where the folder lies, in ns."""
    probe = folder / f".time-{secrets.token_hex(8)}"
    try:
        probe.touch()
        return probe.stat().st_mtime_ns
    finally:
        probe.unlink(missing_ok=True)
