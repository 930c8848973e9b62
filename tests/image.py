"""The image of infra/container/Dockerfile without Docker: its steps, done in a folder for each stage.

A stage's folder stands for its root: paths below /app, /opt and /usr/local lead into it, and /usr/local has a new
virtual environment in place of the base image's Python. What else is in the base image cannot be looked at.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.databases import ROOT

DOCKERFILE = ROOT / "infra" / "container" / "Dockerfile"
_OURS = re.compile(r"(?<![\w./-])/(?=(?:app|opt|usr/local)\b)")
_BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@dataclass(slots=True)
class Stage:
    """An image as far as it is built. `user` may be a number with a group, as in `USER`."""

    root: Path
    base: str
    environment: dict[str, str] = field(default_factory=lambda: dict(_BASE))
    folder: str = "/"
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def real(self, text: str) -> str:
        """The text with the stage's paths as they are here."""
        return _OURS.sub(f"{self.root}/", text)

    def path(self, path: str) -> Path:
        return Path(self.real(str(Path(self.folder) / path)))

    @property
    def variables(self) -> dict[str, str]:
        return {name: self.real(value) for name, value in self.environment.items()}

    def words(self, *arguments: str) -> list[str]:
        """What a container starts, with the program where the stage's PATH has it."""
        first, *others = self.entrypoint + (list(arguments) or self.command)
        program = shutil.which(first, path=self.variables["PATH"])
        assert program, f"{first} is not in the image"
        return [program, *others]


def instructions(text: str) -> list[tuple[str, str]]:
    """Keyword and rest of each instruction, without comments and line ends."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    parts = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(keyword.upper(), rest.strip()) for keyword, rest in parts]


def built(context: Path, folder: Path) -> list[Stage]:
    """All stages, the image last."""
    stages: dict[str, Stage] = {}
    for keyword, rest in instructions(DOCKERFILE.read_text(encoding="utf-8")):
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = _from(base, folder / (name or "image"))
            continue
        stage = list(stages.values())[-1]
        if keyword == "COPY":
            _copy(stage, rest, stages, context)
        else:
            _STEPS[keyword](stage, rest)
    return list(stages.values())


def included(context: Path) -> list[Path]:
    """The files of the context, less what .dockerignore leaves out: its last rule that fits a path or a folder above.

    https://docs.docker.com/build/concepts/context/#dockerignore-files
    """
    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    patterns = [(not rule.startswith("!"), _pattern(rule.lstrip("!"))) for rule in rules]

    def left_out(path: Path) -> bool:
        fitting = [leaves for leaves, pattern in patterns if pattern.fullmatch(str(path))]
        return bool(fitting) and fitting[-1]

    files = (path.relative_to(context) for path in sorted(context.rglob("*")) if path.is_file())
    return [path for path in files if not left_out(path)]


def _pattern(rule: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*|\?)", rule.strip("/"))
    wild = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(wild.get(part) or re.escape(part) for part in parts) + "(?:/.*)?")


def _from(base: str, root: Path) -> Stage:
    (root / "usr").mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", str(root / "usr/local")], check=True)
    return Stage(root=root, base=base)


def _copy(stage: Stage, rest: str, stages: dict[str, Stage], context: Path) -> None:
    """Folders are copied with what is in them, not themselves; whatever is copied belongs to root."""
    words = rest.split()
    named = words.pop(0).removeprefix("--from=") if words[0].startswith("--") else None
    *sources, last = words
    target = stage.path(last)
    if named is not None:
        (source,) = sources
        shutil.copytree(stages[named].path(source), target, symlinks=True)
        return
    for source in sources:
        chosen = [path for path in included(context) if _pattern(source).fullmatch(str(path))]
        assert chosen, f"COPY {source}: there is no such file in the context"
        for path in chosen:
            inner = path.relative_to(source) if (context / source).is_dir() else Path(path.name)
            (target / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(context / path, target / inner)


def _run(stage: Stage, rest: str) -> None:
    done = subprocess.run(
        ["sh", "-c", stage.real(rest)], cwd=stage.path("."), env=stage.variables, check=False, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"RUN {rest}\n{done.stdout}{done.stderr}"


def _workdir(stage: Stage, rest: str) -> None:
    stage.folder = rest
    stage.path(".").mkdir(parents=True, exist_ok=True)


def _env(stage: Stage, rest: str) -> None:
    stage.environment |= dict(word.split("=", 1) for word in shlex.split(rest))


def _user(stage: Stage, rest: str) -> None:
    stage.user = rest


def _entrypoint(stage: Stage, rest: str) -> None:
    """The exec form is JSON; another is refused here, as a shell would get the signals."""
    stage.entrypoint = json.loads(rest)


def _cmd(stage: Stage, rest: str) -> None:
    stage.command = json.loads(rest)


_STEPS = {
    "RUN": _run, "WORKDIR": _workdir, "ENV": _env, "USER": _user, "ENTRYPOINT": _entrypoint, "CMD": _cmd,
}  # fmt: skip
