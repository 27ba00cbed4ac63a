"""Levels of every logger are normalised; other values are not levels."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.parsing import level

NORMAL = {"trace", "debug", "info", "notice", "warn", "error", "critical", "fatal"}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        pytest.param("WARNING", "warn", id="python"),
        pytest.param("warn", "warn", id="normal_already"),
        pytest.param("I", "info", id="klog"),
        pytest.param(" Info ", "info", id="blanks"),
        pytest.param("SEVERE", "error", id="jul"),
        pytest.param("FINEST", "trace", id="jul_lowest"),
        pytest.param("dbug", "debug", id="dotnet"),
        pytest.param("VRB", "trace", id="serilog_short"),
        pytest.param("Information", "info", id="serilog"),
        pytest.param("EMERGENCY", "fatal", id="gcp"),
        pytest.param("CRITICAL", "critical", id="critical"),
        pytest.param("dpanic", "critical", id="zap"),
        pytest.param("INFO2", "info", id="opentelemetry"),
        pytest.param("DEBUG5", "debug", id="postgresql"),
        pytest.param(30, "info", id="bunyan"),
        pytest.param(50, "error", id="pino"),
    ],
)
def test_level_is_normalised(value: Any, name: str) -> None:
    assert level.normalize(value) == name


@pytest.mark.parametrize("value", ["loud", "", " ", "errors", "i" * 100_000, 31, 3, 0, -1, True, 30.5, None, [], {}])
def test_other_value_is_not_a_level(value: Any) -> None:
    assert level.normalize(value) is None


@pytest.mark.parametrize("name", sorted(NORMAL))
def test_normal_name_is_unchanged(name: str) -> None:
    assert level.normalize(name) == level.normalize(name.upper()) == name


@given(st.text(max_size=12) | st.integers() | st.floats() | st.lists(st.integers(), max_size=2))
def test_value_of_any_type_is_accepted(value: Any) -> None:
    normal = level.normalize(value)

    assert normal is None or normal in NORMAL
