"""Who holds a lock, and whether that process still runs."""

import dataclasses
import os
import pathlib
import secrets
import socket
import sys
import time

from sogclr_tf.printable import printable


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock, as its file says.

    Attributes:
        host, pid: where it runs.
        since: when it took the lock, as text.
        process: text that no other process of the same `place` ever has; None where unknown.
        place: text that is the same where process numbers mean the same; None where unknown.
        token: of this one lock.
    """

    host: str
    pid: int
    since: str
    process: str | None
    place: str | None
    token: str

    @classmethod
    def me(cls) -> "Holder":
        """This process."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
            process=_process(os.getpid()),
            place=_place(),
            token=secrets.token_hex(8),
        )

    def is_alive(self) -> bool | None:
        """Whether the process still runs; None where this cannot be told from here."""
        if self.place is None or self.place != _place():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        # Its number may be another's by now.
        now = _process(self.pid)
        return None if now is None or self.process is None else now == self.process


def who(holder: Holder | None) -> str:
    """A holder, as text for a message; None is one that is not known."""
    if holder is None:
        return "an unknown process"
    return f"process {holder.pid} on {printable(holder.host)} since {printable(holder.since)}"


def _place() -> str | None:
    """Text that is the same for processes whose numbers mean the same; None where unknown."""
    if sys.platform == "win32":
        # There is no asking for a process without harm to it.
        return None
    if sys.platform != "linux":
        return socket.gethostname()
    try:
        # Containers have the same names and numbers; a machine that was started anew, too.
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
    return f"{socket.gethostname()} {boot} {numbers}"


def _process(pid: int) -> str | None:
    """Text that no other process ever has beside its number; "ended" of one that is over.

    None where it cannot be told, and in particular where there is no /proc.
    """
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name before may hold spaces and brackets.
    fields = stat.rpartition(b")")[2].split()
    return "ended" if fields[0] in (b"Z", b"X") else f"started at tick {fields[19].decode()}"
