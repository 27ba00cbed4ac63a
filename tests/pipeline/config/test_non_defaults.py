"""The settings that a status shows."""

from pipeline.config.environment import non_defaults
from pipeline.config.settings import Settings


def test_settings_are_shown_without_secrets_and_credentials() -> None:
    effective = Settings(
        es_password="hunter2",  # noqa: S106 - a test value
        es_user="u",
        es_urls=("https://u:hunter2@es.invalid:9200", "http://b.invalid"),
    )

    assert non_defaults(effective) == {
        "ES_PASSWORD": "set, not shown",
        "ES_USER": "u",
        "CRISP_ES_URLS": "https://es.invalid:9200,http://b.invalid",
    }
