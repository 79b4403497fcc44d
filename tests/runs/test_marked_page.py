from pathlib import Path

import pytest

from mlplab.errors import ConfigError
from mlplab.runs import marked_page

PAGE = "# Title\n<!-- speed -->\nold\n\nlines\n<!-- /speed -->\nbetween\n<!-- sweep -->\n<!-- /sweep -->\nend\n"


def test_only_what_is_between_the_marks_changes(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(PAGE)
    for _ in range(2):
        marked_page.publish(page, "speed", r"| new \1 |")
        marked_page.publish(page, "sweep", "two\nlines")
    assert page.read_text() == (
        "# Title\n<!-- speed -->\n| new \\1 |\n<!-- /speed -->\nbetween\n"
        "<!-- sweep -->\ntwo\nlines\n<!-- /sweep -->\nend\n"
    )


@pytest.mark.parametrize("text", ["", "<!-- speed -->\n", "<!-- /speed -->\n<!-- speed -->\n"])
def test_a_page_without_marks_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    page = tmp_path / "README.md"
    page.write_text(text)
    with pytest.raises(ConfigError, match="must contain <!-- speed --> and <!-- /speed -->"):
        marked_page.publish(page, "speed", "new")
    assert page.read_text() == text
