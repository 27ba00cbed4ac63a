"""Every setting has a group, readers, and the unit that its name has."""

import dataclasses

from pipeline.config.groups import grouped_settings
from pipeline.config.settings import Settings

UNITS = ("bytes", "seconds", "days")


def test_every_setting_is_in_one_group() -> None:
    names = [setting.row.name for setting in grouped_settings()]

    assert sorted(names) == sorted(row.name for row in dataclasses.fields(Settings))
    assert all(setting.group and setting.readers for setting in grouped_settings())


def test_every_number_but_a_port_has_a_unit() -> None:
    without = {row.name for row, _, _, unit in grouped_settings() if row.type in {int, float} and not unit}

    assert without == {"ship_port", "worker_port"}
    assert {setting.unit for setting in grouped_settings()} >= {"", *UNITS}
