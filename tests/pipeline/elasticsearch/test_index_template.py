"""Index templates, lifecycle policies and roles."""

from typing import Any

import pytest

from pipeline.config.settings import Settings
from pipeline.contract.ecs import FIELDS
from pipeline.elasticsearch import index_template, lifecycle_policy, roles
from pipeline.elasticsearch.index_template import Unsupported

SETTINGS = Settings(routes={"infra": 7})


def as_returned(template: index_template.Template) -> dict[str, Any]:
    """Return a template in the form in which Elasticsearch returns it: flat settings, as text."""
    wanted = index_template.body(template, SETTINGS, Unsupported())
    settings = {
        key: [str(entry) for entry in value] if isinstance(value, list) else str(value).replace("True", "true")
        for key, value in wanted["template"]["settings"].items()
    }
    return {**wanted, "template": {**wanted["template"], "settings": settings}}


@pytest.mark.parametrize(
    ("index", "name"),
    [
        ("logs-2026.11.24", "crisp-logs"),
        ("logs-crisp.2026.11.24", "crisp-logs"),
        ("logs-crisp.infra.2026.11.24", "crisp-logs"),
        ("logs-infra.2026.11.24", "crisp-logs-infra"),
        ("logs-late", "crisp-logs-late"),
    ],
)
def test_every_index_of_crisp_has_its_template(index: str, name: str) -> None:
    assert index_template.template_for(index, SETTINGS).name == name


def test_body_omits_unsupported_features() -> None:
    template = index_template.all_templates(SETTINGS)[0]
    complete = index_template.body(template, SETTINGS, Unsupported())["template"]
    reduced = index_template.body(
        template, SETTINGS, Unsupported(frozenset({"wildcard"}), frozenset({index_template.LIFECYCLE_SETTING}))
    )["template"]

    assert complete["settings"][index_template.LIFECYCLE_SETTING] == "crisp-logs"
    assert index_template.LIFECYCLE_SETTING not in reduced["settings"]
    assert reduced["mappings"]["properties"]["error.stack_trace"]["type"] == "text"


def test_field_with_doc_values_only_has_no_index_and_the_times_that_crisp_searches_have_one() -> None:
    template = index_template.all_templates(SETTINGS)[0]
    properties = index_template.body(template, SETTINGS, Unsupported())["template"]["mappings"]["properties"]

    assert properties["log.offset"] == {"type": "long", "index": False}
    assert properties["agent.type"] == {"type": "keyword", "ignore_above": 8191, "index": False}
    assert all(properties[name] == {"type": "date_nanos"} for name in ("@timestamp", "event.created", "event.ingested"))


def test_only_types_with_searchable_doc_values_have_no_index() -> None:
    types = {field.type for field in FIELDS.values() if field.doc_values_only}

    assert types <= {"keyword", "long", "double", "date_nanos", "boolean", "ip"}


def test_text_has_no_norms() -> None:
    template = index_template.all_templates(SETTINGS)[0]
    unsupported = Unsupported(frozenset({"match_only_text"}))
    properties = index_template.body(template, SETTINGS, unsupported)["template"]["mappings"]["properties"]

    assert properties["message"] == {"type": "text", "norms": False}


def test_template_of_late_lines_has_no_lifecycle_policy() -> None:
    late = index_template.all_templates(SETTINGS)[-1]

    assert (
        index_template.LIFECYCLE_SETTING
        not in index_template.body(late, SETTINGS, Unsupported())["template"]["settings"]
    )


def test_installed_template_without_changes_has_no_drift() -> None:
    template = index_template.all_templates(SETTINGS)[0]

    assert index_template.drift(as_returned(template), index_template.body(template, SETTINGS, Unsupported())) == []


def test_drift_names_changed_added_and_removed_settings() -> None:
    template = index_template.all_templates(SETTINGS)[0]
    installed = as_returned(template)
    installed["template"]["settings"]["index.refresh_interval"] = "30s"
    properties = installed["template"]["mappings"]["properties"]
    properties["message"] = {"type": "keyword"}
    properties["mine"] = {"type": "keyword"}
    del properties["log.level"]
    installed["index_patterns"] = ["logs-*"]

    assert index_template.drift(installed, index_template.body(template, SETTINGS, Unsupported())) == [
        "index.refresh_interval",
        "index_patterns",
        "mappings.log.level",
        "mappings.message",
        "mappings.mine",
    ]


def test_lifecycle_policy_has_retention_days_unless_changed() -> None:
    policy = lifecycle_policy.body(7)["policy"]
    changed = {"phases": {**policy["phases"], "warm": {"min_age": "2d", "actions": {}}}}

    assert lifecycle_policy.retention_days(policy) == 7
    assert lifecycle_policy.retention_days(changed) is None
    assert lifecycle_policy.retention_days({"phases": {"delete": {"min_age": "1h"}}}) is None


def test_setup_role_has_a_kibana_privilege_if_kibana_is_configured() -> None:
    settings = Settings(kibana_url="http://kibana.invalid:5601", kibana_space="ops")
    (entry,) = roles.all_roles(settings)["crisp_setup"]["applications"]

    assert (entry["application"], entry["resources"]) == ("kibana-.kibana", ["space:ops"])
    assert all("applications" not in role for role in roles.all_roles(SETTINGS).values())


def test_worker_role_cannot_change_or_delete_documents() -> None:
    worker = roles.all_roles(SETTINGS)["crisp_worker"]

    assert worker["indices"][0]["names"] == ["logs-20*", "logs-crisp.*", "logs-infra.20*", "logs-late*"]
    assert not {"write", "index", "create", "delete", "delete_index", "manage", "all"} & set(
        worker["indices"][0]["privileges"]
    )
    assert worker["indices"][1:] == [{"names": ["logs-*.20*"], "privileges": ["view_index_metadata", "read"]}]


def test_manager_of_a_resource_is_parsed_from_the_error() -> None:
    prefix = "Failed to process request [PutLifecycleRequest/unset] with errors:"
    reason = f"{prefix} [[crisp-logs] set as read-only by [file_settings]]"
    assert index_template.managed_by(reason) == "file_settings"
    assert index_template.managed_by("unknown setting [index.lifecycle.name]") == ""


def index_settings(**options: Any) -> dict[str, Any]:
    settings = Settings(**options)
    (template, *_) = index_template.all_templates(settings)
    body = index_template.body(template, settings, Unsupported())
    result: dict[str, Any] = body["template"]["settings"]
    return result


def test_indices_are_compressed_by_default() -> None:
    assert index_settings()["index.codec"] == "best_compression"
    assert index_template.MODE_SETTING not in index_settings()


def test_user_settings_replace_add_and_remove_settings() -> None:
    text = '{"refresh_interval": "30s", "index.codec": null, "index.merge.scheduler.max_thread_count": 1}'
    settings = index_settings(index_settings=text)

    assert settings["index.refresh_interval"] == "30s"
    assert settings["index.merge.scheduler.max_thread_count"] == 1
    assert "index.codec" not in settings
    assert settings["index.mapping.ignore_malformed"] is True


def test_mode_of_the_index_is_a_setting_of_the_user() -> None:
    settings = Settings(index_mode="logsdb", index_settings='{"index.codec": "default"}')

    assert index_settings(index_mode="logsdb")[index_template.MODE_SETTING] == "logsdb"
    assert index_settings(index_mode="logsdb")["index.mapping.source.mode"] == "stored"
    assert index_template.user_settings(settings) == {
        index_template.MODE_SETTING,
        "index.mapping.source.mode",
        "index.codec",
    }
    assert index_template.user_settings(Settings()) == frozenset()


def test_unsupported_mode_is_parsed_from_the_error() -> None:
    reason = "Validation Failed: 1: No enum constant org.elasticsearch.index.IndexMode.LOGSDB;"

    assert index_template.is_about_mode(reason)
    assert not index_template.is_about_mode("unknown setting [index.codecc] did you mean [index.codec, index.mode]?")
