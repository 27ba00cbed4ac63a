"""Settings from environment variables: valid values are parsed, each invalid one is a problem."""

import pytest

from pipeline.config.environment import load_settings
from pipeline.errors import SettingsError


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "Infinity", "1e999"])
@pytest.mark.parametrize("name", ["CRISP_TRACE_GAP_SECONDS", "CRISP_LINGER_SECONDS", "CRISP_RETRY_MAX_SECONDS"])
def test_duration_that_is_not_finite_is_invalid(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: '{value}' is not a finite number"):
        load_settings({name: value})
