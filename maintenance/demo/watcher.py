"""The process that starts one PostgreSQL server, and removes every trace of it once its owner is gone.

Run as a script by `server.py`, in a session of its own, so that Ctrl-C in a terminal does not reach it. It does
everything from the first folder on, because an owner that is killed (SIGKILL) cannot clean up what it began.
It learns of the owner's end from standard input (a line, or end of file) and from its parent's process id; the
second is needed since a process that the owner forked keeps the pipe open. Standard library only.

Arguments: the owner's process id, and the folder to make. Input: one line of JSON, the fields of `Request`.
Output: one line of JSON, `{"port": number}` when the server is ready, or `{"error": "text"}`.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# All that the server's processes inherit: no PG*, no LANG. With TZ, initdb need not search for the time zone.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
INITDB_SECONDS = 60.0
READY_SECONDS = 60.0
REMOVE_SECONDS = 5.0
POLL_SECONDS = 0.01
OWNER_SECONDS = 1.0
LOG_LINES = 15
PORT_TAKEN = "could not create any TCP/IP sockets"
# Line 8 of postmaster.pid: LOCK_FILE_LINE_PM_STATUS and PM_STATUS_READY in src/include/utils/pidfile.h.
STATUS_LINE, STATUS_READY = 7, "ready"
# Fast, then immediate shutdown, then force (manual, "Shutting Down the Server"), with the seconds each may take.
SHUTDOWN = ((signal.SIGINT, 4.0), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 2.0))


class OwnerGone(Exception):
    """The owner ended, or asked for the end of the server."""


class StartFailed(Exception):
    """The server cannot be started: first line, why; further lines, the end of its log. The owner raises DemoError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the owner asks for: ids to run as (None: as this process), a `copy` that they can read, ports to try."""

    bin_directory: str
    copy: bool
    user: int | None
    group: int | None
    password: str
    initdb_options: list[str]
    ports: list[int]
    settings: dict[str, str]

    def own(self, path: Path) -> None:
        """Effect: gives one file or folder to the user and the group."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group, follow_symlinks=False)

    def spawn(self, command: Sequence[str | Path], *, folder: Path) -> subprocess.Popen[bytes]:
        """Effect: starts a program as the user, in a session of its own, that writes to the log in `folder`."""
        with (folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=ENVIRONMENT,
                start_new_session=True,
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
            )


class Owner:
    """The process that asked for the server."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._dismissed = False

    def dismiss(self, *_: object) -> None:
        """Effect: from now on as if the owner were gone. Handler of the signals that ask this process to end."""
        self._dismissed = True

    def check(self, seconds: float) -> None:
        """Effect: waits for `seconds`. Raises OwnerGone as soon as the owner is gone."""
        readable, _, _ = select.select([0], [], [], seconds)
        if readable or self._dismissed or os.getppid() != self._pid:
            raise OwnerGone


def copy_installation(request: Request, target: Path) -> Path:
    """Effect: copies a self-contained installation, and the libraries of its wheel. Returns the copy's bin folder."""
    root = Path(request.bin_directory).parent
    package = root.parent
    if not any(root.glob("share/**/postgres.bki")):
        fact = f"the account that stands in for root cannot run the programs in {request.bin_directory}"
        raise StartFailed(f"{fact}, and they are not part of a folder that can be copied, so make them readable")
    libraries = (package.parent / f"{package.name}.libs", package / ".dylibs")  # made by auditwheel, by delocate
    for source in (root / "bin", root / "lib", root / "share", *libraries):
        if source.is_dir():
            shutil.copytree(source, target / source.relative_to(package.parent), symlinks=True)
    for path in (target, *target.rglob("*")):
        request.own(path)
    return target / package.name / root.name / "bin"


def tail(log: Path) -> str:
    """The last lines of the log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


def initialise(programs: Path, request: Request, directory: Path) -> None:
    """Effect: makes the database cluster in `directory`/data. Raises StartFailed."""
    secret, log = directory / "password", directory / "server.log"
    for path, text in ((secret, request.password), (log, "")):
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        request.own(path)
    request.own(directory)
    places = ("-D", directory / "data", "--pwfile", secret)
    child = request.spawn((programs / "initdb", *places, *request.initdb_options), folder=directory)
    # Not cut short when the owner goes: killing it would leave a shared memory segment, and it takes half a second.
    try:
        child.wait(INITDB_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise StartFailed(f"initdb took more than {INITDB_SECONDS:.0f} s\n{tail(log)}") from None
    if child.returncode != 0:
        raise StartFailed(f"initdb failed\n{tail(log)}")
    secret.unlink()
    os.truncate(log, 0)  # initdb's words would be noise in what is told about the server


def wait_until_ready(child: subprocess.Popen[bytes], directory: Path, owner: Owner) -> bool:
    """Effect: waits until the server accepts connections; False if it ended. Raises OwnerGone or StartFailed."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            return False
        with suppress(FileNotFoundError):
            lines = (directory / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            if len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == STATUS_READY:
                return True
        owner.check(POLL_SECONDS)
    raise StartFailed(f"the server was not ready after {READY_SECONDS:.0f} s\n{tail(directory / 'server.log')}")


def shut_down(pid: int, poll: Callable[[], int | None]) -> None:
    """Effect: stops a server, ever less gently, until `poll` (as of Popen: None while it runs) says that it ended."""
    for number, seconds in SHUTDOWN:
        if poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def remove(directory: Path) -> None:
    """Effect: removes the folder, again and again while a process that is ending still writes to it."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            time.sleep(POLL_SECONDS)


@contextmanager
def running_server(request: Request, directory: Path, owner: Owner) -> Iterator[int]:
    """Effect: a server inside the block, on the port that is yielded. Raises OwnerGone or StartFailed."""
    programs = Path(request.bin_directory)
    if request.copy:
        programs = copy_installation(request, directory / "software")
    owner.check(0)
    initialise(programs, request, directory)
    owner.check(0)
    options = [word for name, value in request.settings.items() for word in ("-c", f"{name}={value}")]
    for port in request.ports:
        command: list[str | Path] = [programs / "postgres", "-D", directory / "data", *options, "-c", f"port={port}"]
        child = request.spawn(command, folder=directory)
        try:
            if wait_until_ready(child, directory, owner):
                yield port
                return
        finally:
            shut_down(child.pid, child.poll)
        if PORT_TAKEN not in tail(directory / "server.log"):
            break
    raise StartFailed(f"the server ended at once\n{tail(directory / 'server.log')}")


def report(**answer: object) -> None:
    """Effect: tells the owner; silent if the owner is gone."""
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(answer).encode() + b"\n")


def read_request() -> Request | None:
    """Effect: reads one line, byte by byte, since what follows it is for `Owner.check`. None if there is none."""
    text = b""
    while not text.endswith(b"\n"):
        letter = os.read(0, 1)
        if not letter:
            return None
        text += letter
    return Request(**json.loads(text))


def main() -> None:
    """Effect: serves one request from the first folder to the last trace."""
    owner, directory = Owner(int(sys.argv[1])), Path(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, owner.dismiss)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if inherited as ignored, no exit status of initdb can be had
    request = read_request()
    if request is None:
        return
    try:
        directory.mkdir(mode=0o700)  # outside of the next block: a folder that is not ours must stay
    except OSError as error:
        report(error=f"the folder {directory} cannot be made: {error.strerror}")
        return
    try:
        with running_server(request, directory, owner) as port:
            report(port=port)
            while True:
                owner.check(OWNER_SECONDS)
    except OwnerGone:
        pass
    except (StartFailed, OSError, shutil.Error) as error:
        report(error=str(error))
    finally:
        remove(directory)


if __name__ == "__main__":
    main()
