"""Templates, lifecycles and roles as data."""

import pytest

from pipeline.config.settings import Settings
from pipeline.elasticsearch import index_template, lifecycle_policy, roles
from pipeline.elasticsearch.index_template import Unsupported

SETTINGS = Settings(routes="infra=7")


def as_returned(template: index_template.Template) -> dict:
    """A template as Elasticsearch gives it back: with flat settings, as text."""
    wanted = index_template.body(template, SETTINGS, Unsupported())
    texts = {
        key: [str(entry) for entry in value] if isinstance(value, list) else str(value).replace("True", "true")
        for key, value in wanted["template"]["settings"].items()
    }
    return {**wanted, "template": {**wanted["template"], "settings": texts}}


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
def test_every_index_of_ours_has_its_template(index: str, name: str) -> None:
    assert index_template.template_for(index, SETTINGS).name == name


def test_what_the_server_lacks_is_left_out_of_the_body() -> None:
    one = index_template.all_templates(SETTINGS)[0]
    whole = index_template.body(one, SETTINGS, Unsupported())["template"]
    less = index_template.body(
        one, SETTINGS, Unsupported(frozenset({"wildcard"}), frozenset({index_template.LIFECYCLE_SETTING}))
    )["template"]

    assert whole["settings"][index_template.LIFECYCLE_SETTING] == "crisp-logs"
    assert index_template.LIFECYCLE_SETTING not in less["settings"]
    assert less["mappings"]["properties"]["error.stack_trace"]["type"] == "text"


def test_late_lines_have_no_lifecycle_that_would_take_them_on_the_day_they_came() -> None:
    late = index_template.all_templates(SETTINGS)[-1]

    assert (
        index_template.LIFECYCLE_SETTING
        not in index_template.body(late, SETTINGS, Unsupported())["template"]["settings"]
    )


def test_a_template_that_stands_as_it_should_has_no_drift() -> None:
    one = index_template.all_templates(SETTINGS)[0]

    assert index_template.drift(as_returned(one), index_template.body(one, SETTINGS, Unsupported())) == []


def test_drift_names_what_was_changed_added_and_taken_away() -> None:
    one = index_template.all_templates(SETTINGS)[0]
    stands = as_returned(one)
    stands["template"]["settings"]["index.refresh_interval"] = "30s"
    properties = stands["template"]["mappings"]["properties"]
    properties["message"] = {"type": "keyword"}
    properties["mine"] = {"type": "keyword"}
    del properties["log.level"]
    stands["index_patterns"] = ["logs-*"]

    assert index_template.drift(stands, index_template.body(one, SETTINGS, Unsupported())) == [
        "index.refresh_interval",
        "index_patterns",
        "mappings.log.level",
        "mappings.message",
        "mappings.mine",
    ]


def test_a_lifecycle_of_ours_tells_its_days_and_a_changed_one_does_not() -> None:
    made = lifecycle_policy.body(7)["policy"]
    changed = {"phases": {**made["phases"], "warm": {"min_age": "2d", "actions": {}}}}

    assert lifecycle_policy.retention_days(made) == 7
    assert lifecycle_policy.retention_days(changed) is None
    assert lifecycle_policy.retention_days({"phases": {"delete": {"min_age": "1h"}}}) is None


def test_setup_has_a_right_in_kibana_where_there_is_one() -> None:
    named = Settings(kibana_url="http://kibana.invalid:5601", kibana_space="ops")
    (entry,) = roles.all_roles(named)["crisp_setup"]["applications"]

    assert (entry["application"], entry["resources"]) == ("kibana-.kibana", ["space:ops"])
    assert all("applications" not in role for role in roles.all_roles(SETTINGS).values())


def test_the_worker_may_neither_change_nor_delete() -> None:
    worker = roles.all_roles(SETTINGS)["crisp_worker"]

    assert worker["indices"][0]["names"] == ["logs-20*", "logs-crisp.*", "logs-infra.20*", "logs-late*"]
    assert not {"write", "index", "create", "delete", "delete_index", "manage", "all"} & set(
        worker["indices"][0]["privileges"]
    )


def test_who_owns_a_thing_is_read_from_the_refusal() -> None:
    words = "Failed to process request [PutLifecycleRequest/unset] with errors:"
    said = f"{words} [[crisp-logs] set as read-only by [file_settings]]"
    assert index_template.managed_by(said) == "file_settings"
    assert index_template.managed_by("unknown setting [index.lifecycle.name]") == ""
