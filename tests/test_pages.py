"""The pages: README.md and those beside what they describe."""

import re
from pathlib import Path

import pytest
from conftest import PROJECT

SKIPPED = {".venv", "build", "outputs", ".git", ".pytest_cache"}
PAGES = sorted(
    path.relative_to(PROJECT) for path in PROJECT.rglob("*.md") if not SKIPPED & set(path.relative_to(PROJECT).parts)
)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)\)", (PROJECT / page).read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (PROJECT / page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_pages_are_short(page: Path) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= (180 if page.name == "README.md" and page.parent == Path() else 150)


def test_the_readme_is_small_and_leads_to_every_page() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(readme.encode()) <= 12_000
    assert {str(page) for page in PAGES if f"({page.as_posix()})" not in readme} == {"README.md"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_name_scripts_and_targets_that_exist(page: Path) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    scripts = set(re.findall(r"python ((?:train|scripts/[\w/]+)\.py)", text))
    assert [script for script in scripts if not (PROJECT / script).exists()] == []
    targets = set(re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE))
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
