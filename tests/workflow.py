"""A runner of GitHub Actions, as far as a workflow of `run:` steps needs one: expressions, environment, files, bash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.databases import ROOT

yaml: Any = import_module("yaml")
WORKFLOWS = ROOT / ".github" / "workflows"
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(r"'[^']*'|&&|\|\||==|!=|[()]|[A-Za-z_][\w.-]*|\s+")
_OPERATORS = {"&&": "and", "||": "or", "==": "==", "!=": "!=", "(": "(", ")": ")"}


def read(name: str) -> dict[Any, Any]:
    """A workflow; its key `on` is True, as YAML 1.1 has it."""
    document: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return document


def value(text: object, contexts: Mapping[str, Mapping[str, Any]]) -> Any:
    """A value of the workflow with its expressions worked out; one that is an expression alone keeps its type."""
    if not isinstance(text, str):
        return text
    alone = _EXPRESSION.fullmatch(text)
    if alone:
        return _worked_out(alone[1], contexts)
    return _EXPRESSION.sub(lambda found: shown(_worked_out(found[1], contexts)), text)


def shown(value: object) -> str:
    """As it stands in a text: null is empty."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _worked_out(expression: str, contexts: Mapping[str, Mapping[str, Any]]) -> Any:
    """Python's `and` and `or` give one of their sides, as && and || do; what a context does not have is empty."""
    tokens = _TOKEN.findall(expression)
    assert "".join(tokens) == expression, f"an expression that is not understood: {expression}"
    words = []
    for token in tokens:
        if token in _OPERATORS:
            words.append(_OPERATORS[token])
        elif token.startswith("'") or token.isspace():
            words.append(token)
        else:
            words.append(repr(_looked_up(token, contexts)))
    return eval(" ".join(words).strip(), {"__builtins__": {}})


def _looked_up(path: str, contexts: Mapping[str, Mapping[str, Any]]) -> Any:
    found: Any = contexts
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return found


@dataclass(slots=True)
class Runner:
    """A machine with the repository checked out and Python set up. `environment` is what it has of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def summary(self) -> str:
        return (self.folder / "GITHUB_STEP_SUMMARY").read_text(encoding="utf-8")

    def check_out(self) -> None:
        """What git has, and what it would take."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self.workspace / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.workspace / name)

    def step(
        self, step: Mapping[str, Any], contexts: Mapping[str, Mapping[str, Any]], job: Mapping[str, Any]
    ) -> subprocess.CompletedProcess[str]:
        """Run the step's script as a runner does where no shell is named: `bash -e FILE`."""
        assert "shell" not in step
        script = self.folder / "script.sh"
        script.write_text(str(value(step["run"], contexts)), encoding="utf-8")
        given = {**job.get("env", {}), **step.get("env", {})}
        files = {
            name: self.folder / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH")
        }
        for file in files.values():
            file.write_text("")
        environment = {
            "PATH": f"{self.folder}/bin:{self.folder}/python/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder), "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(self.workspace),
            **{name: str(path) for name, path in files.items()},
            **{name: shown(value(text, contexts)) for name, text in given.items()},
            **self.environment,
        }  # fmt: skip
        # Where the packages come from is this machine's business.
        environment |= {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", str(script)], cwd=self.workspace, env=environment, check=False,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
