"""A client reloads changed secrets and certificate authorities; two clients share nothing."""

from pathlib import Path
from typing import Any

import certifi
import pytest

from pipeline.config.environment import load_settings
from pipeline.elasticsearch import client
from pipeline.errors import SettingsError

END = "-----END CERTIFICATE-----\n"


def certificates(number: int) -> str:
    return END.join(Path(certifi.where()).read_text().split(END)[:number]) + END


def contexts(elasticsearch: Any) -> list[Any]:
    return [node._ssl_context for node in elasticsearch.transport.node_pool.all()]


async def test_reload_adds_the_certificates_of_a_changed_file_to_this_client_only(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(certificates(1))
    settings = load_settings({"CRISP_ES_URLS": "https://a:9200,https://b:9200", "CRISP_ES_CA_FILE": str(ca_file)})
    elasticsearch, other = client.connect(settings), client.connect(settings)

    ca_file.write_text(certificates(2))
    client.reload(elasticsearch, settings)

    assert [len(context.get_ca_certs()) for context in contexts(elasticsearch)] == [2, 2]
    assert [len(context.get_ca_certs()) for context in contexts(other)] == [1, 1]
    await elasticsearch.close()
    await other.close()


async def test_reload_uses_a_changed_password(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("old")
    settings = load_settings({"ES_USER": "crisp", "ES_PASSWORD_FILE": str(password)})
    elasticsearch = client.connect(settings)
    before = elasticsearch._headers["authorization"]

    password.write_text("new")
    client.reload(elasticsearch, settings)

    assert elasticsearch._headers["authorization"] != before
    await elasticsearch.close()


def test_unreadable_certificate_authority_names_its_setting(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("no certificate")
    settings = load_settings({"CRISP_ES_URLS": "https://a:9200", "CRISP_ES_CA_FILE": str(ca_file)})

    with pytest.raises(SettingsError, match=r"CRISP_ES_CA_FILE: .*cannot be read as PEM"):
        client.connect(settings)
