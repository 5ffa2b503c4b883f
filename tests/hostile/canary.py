"""Canaries: what would be seen if a hostile file had its way."""

import os
import resource
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

GROWTH = 512 << 20
"""Bytes of memory by which a process may not grow; the floor of a bomb."""


@dataclass
class Canary:
    """A place of its own in which a case leaves its traps."""

    folder: Path
    listener: socket.socket | None = None
    started: float = field(default_factory=time.monotonic)
    memory: int = 0

    @property
    def file(self) -> Path:
        """Created by code that runs."""
        return self.folder / "canary-created"

    @property
    def code(self) -> str:
        """Python that creates the file."""
        return f"open({str(self.file)!r}, 'w').close()"

    def secret(self, content: bytes | None = None, name: str = "secret.txt") -> Path:
        """A file that nobody may read: reading it moves its time of access forward from the year 1970."""
        path = self.folder / name
        if content is not None or not path.exists():
            path.write_bytes(b"secret\nof\nyours\n" if content is None else content)
        os.utime(path, (1, time.time()))
        return path

    def listen(self) -> int:
        """A port of this machine that nobody may call."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        return self.listener.getsockname()[1]

    def fired(self) -> str:
        """What happened: "" where nothing did."""
        if self.file.exists():
            return "a file was created"
        read = [path for path in self.folder.glob("secret*") if path.stat().st_atime > 2]
        if read:
            return f"{read[0].name} was read"
        if self.listener is not None:
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                pass
            else:
                return "a connection was made"
        if peak_memory() - self.memory > GROWTH:
            return f"memory grew by {(peak_memory() - self.memory) >> 20} MB"
        return ""


def peak_memory() -> int:
    """Of this process, in bytes.

    Linux hands `ru_maxrss` on to a process from the one that began it, which may be a test run that holds TensorFlow;
    VmHWM is its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
