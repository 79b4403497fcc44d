"""README.md and the other pages."""

import re
from pathlib import Path

import pytest
from conftest import PROJECT

SKIPPED = {".venv", "build", "outputs", ".git", ".pytest_cache"}
PAGES = sorted(
    path.relative_to(PROJECT) for path in PROJECT.rglob("*.md") if not SKIPPED & set(path.relative_to(PROJECT).parts)
)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_is_short_and_names_what_exists(page: Path) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= (180 if page == Path("README.md") else 150)
    links = re.findall(r"\]\(([^)#\s]+)\)", text)
    assert [link for link in links if "://" not in link and not (PROJECT / page.parent / link).exists()] == []
    scripts = set(re.findall(r"python ((?:train|scripts/[\w/]+)\.py)", text))
    assert [script for script in scripts if not (PROJECT / script).exists()] == []
    targets = set(re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE))
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_the_readme_is_small_and_leads_to_every_page() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(readme.encode()) <= 12_000
    assert {str(page) for page in PAGES if f"({page.as_posix()})" not in readme} == {"README.md"}
