"""What people read about the settings is made from their declarations."""

from pathlib import Path

import pytest

from tidegate.config import SettingsError, declared
from tidegate.settings_building import build_settings
from tidegate.settings_pages import as_example, as_markdown, as_text
from tidegate.settings_sources import gather

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("page", [as_text, as_markdown, as_example])
def test_every_setting_is_on_every_page(page) -> None:
    text = page()
    for each in declared():
        assert each.variable in text
        assert each.meaning.text in text


def test_the_page_of_settings_is_the_one_that_the_program_makes() -> None:
    assert (ROOT / "docs" / "SETTINGS.md").read_text() == as_markdown()


def test_the_example_is_the_one_that_the_program_makes() -> None:
    assert (ROOT / ".env.example").read_text() == as_example()


def test_a_copy_of_the_example_can_be_read_but_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(as_example())
    given = gather(environment={}, working_folder=tmp_path)
    with pytest.raises(SettingsError) as refused:
        build_settings(given.texts)
    assert [told.split()[0] for told in refused.value.faults] == [each.variable for each in declared() if each.is_required]
