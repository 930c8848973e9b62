"""The README shows what the program really prints."""

import re
from pathlib import Path

from tests.databases import ROOT, Database

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def timeless(text: str) -> list[str]:
    """The lines without their instants, and without the spaces that end them."""
    moment = re.sub(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d", "<instant>", text)  # a line may end in between
    return [line.rstrip() for line in moment.strip().splitlines()]


async def test_the_plan_of_the_readme_is_what_its_policy_gives(fleet: Database) -> None:
    fleet.write_policy(blocks("toml")[0])
    command, shown = next(block for block in blocks("text") if block.startswith("$")).split("\n", 1)
    assert command == "$ python -m maintenance plan"
    done = await fleet.cli("plan")
    assert done.returncode == 0, done.stderr
    assert timeless(done.stdout) == timeless(shown)


def test_every_make_target_and_file_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert Path(ROOT / link).exists(), link
