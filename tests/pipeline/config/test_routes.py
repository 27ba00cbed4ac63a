"""Routes: valid and invalid values of the setting."""

import pytest

from pipeline.config import routes
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.elasticsearch import index_template
from pipeline.errors import SettingsError


def test_routes_are_parsed_with_their_days() -> None:
    assert routes.parse(["infra=7", "audit=365"]) == {"infra": 7, "audit": 365}


@pytest.mark.parametrize(
    "entry",
    ["infra", "infra=0", "infra=x", "team-a=7", "Infra=7", "7=7", "late=7", "crisp=7", "a=1 a=2", "a=\u0661"],
)
def test_invalid_route_is_named(entry: str) -> None:
    with pytest.raises(SettingsError, match="CRISP_ROUTES") as rejected:
        load_settings({"CRISP_ROUTES": entry})

    assert repr(entry.split()[0].partition("=")[0])[:-1] in str(rejected.value)


def test_each_route_has_a_template_with_its_own_retention() -> None:
    settings = Settings(routes={"infra": 7, "audit": 365})

    days = {
        pattern: template.days for template in index_template.all_templates(settings) for pattern in template.patterns
    }

    assert days == {"logs-20*": 14, "logs-crisp.*": 14, "logs-infra.20*": 7, "logs-audit.20*": 365, "logs-late*": 0}
