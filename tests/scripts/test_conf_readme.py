"""conf/README.md lists every key, and is up to date."""

import runpy
from pathlib import Path

import pytest
from conftest import PROJECT, Compose

from mlplab.config.fields import flatten
from mlplab.runs import atomic_write


def test_the_reference_of_all_keys_is_current(monkeypatch: pytest.MonkeyPatch, composed: Compose) -> None:
    written: dict[Path, bytes] = {}
    monkeypatch.setattr(atomic_write, "write", lambda path, content, sync: written.update({path: content}))
    monkeypatch.setattr("sys.argv", ["conf_readme.py"])
    runpy.run_path(str(PROJECT / "scripts" / "conf_readme.py"), run_name="__main__")
    page = PROJECT / "conf" / "README.md"
    assert written == {page: page.read_bytes()}, "run scripts/conf_readme.py"
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    for key in flatten(composed().model_dump(exclude={"published"})):
        assert f"| `{key}` |" in text
