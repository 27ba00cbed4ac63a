"""Routes: what the setting may say."""

import pytest

from pipeline.config import routes
from pipeline.config.settings import Settings, load
from pipeline.elasticsearch import index_template
from pipeline.errors import SettingsError


def test_routes_are_read_with_their_days() -> None:
    assert routes.parse("infra=7  audit=365") == {"infra": 7, "audit": 365}


@pytest.mark.parametrize(
    "word",
    ["infra", "infra=0", "infra=x", "team-a=7", "Infra=7", "7=7", "late=7", "crisp=7", "a=1 a=2", "a=\u0661"],
)
def test_what_could_name_no_index_of_ours_is_refused_by_name(word: str) -> None:
    with pytest.raises(SettingsError, match="CRISP_ROUTES") as refused:
        load({"CRISP_ROUTES": word})

    assert repr(word.split()[0].partition("=")[0])[:-1] in str(refused.value)


def test_every_route_has_a_template_with_its_own_retention() -> None:
    settings = Settings(routes="infra=7 audit=365")

    days = {pattern: one.days for one in index_template.all_templates(settings) for pattern in one.patterns}

    assert days == {"logs-20*": 14, "logs-crisp.*": 14, "logs-infra.20*": 7, "logs-audit.20*": 365, "logs-late*": 0}
