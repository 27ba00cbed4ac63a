"""CRISP_INDEX_SETTINGS: the user's index settings, by their full names."""

import json

import pytest

from pipeline.config import index_options
from pipeline.config.environment import load_settings
from pipeline.errors import SettingsError


@pytest.mark.parametrize(
    "text",
    [
        '{"index.refresh_interval": "5s", "index.merge.policy.max_merged_segment": "1gb"}',
        '{"refresh_interval": "5s", "merge.policy.max_merged_segment": "1gb"}',
        '{"index": {"refresh_interval": "5s", "merge": {"policy.max_merged_segment": "1gb"}}}',
    ],
)
def test_nested_and_dotted_names_are_the_same(text: str) -> None:
    assert index_options.parse(text) == {
        "index.refresh_interval": "5s",
        "index.merge.policy.max_merged_segment": "1gb",
    }


def test_values_keep_their_types() -> None:
    values = {"index.a": 2, "index.b": True, "index.c": ["x", "y"], "index.d": None, "index.e": 0.5}

    assert index_options.parse(json.dumps(values)) == values


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_empty_text_sets_nothing(text: str) -> None:
    assert index_options.parse(text) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('"index.codec"', "not a JSON object"),
        ('{"codec": {}}', "index.codec: not a text"),
        ('{"codec": [{"a": 1}]}', "index.codec: not a text"),
        ('{"codec": "default", "codec": "default"}', "codec: set twice"),
        ('{"codec": "default", "index.codec": "default"}', "index.codec: set twice"),
        ('{"number_of_shards": 3}', "index.number_of_shards: set CRISP_INDEX_SHARDS"),
        ('{"index": {"lifecycle": {"name": "x"}}}', "index.lifecycle.name: `crisp setup` sets it"),
        ('{"index.mode": "time_series"}', "index.mode: set CRISP_INDEX_MODE"),
        ('{"index.mapping.ignore_malformed": false}', "index.mapping.ignore_malformed: crisp needs its own value"),
        ('{"index.mapping.ignore_malformed": null}', "index.mapping.ignore_malformed: crisp needs its own value"),
        ('{"index.blocks.write": true}', "index.blocks.write: nothing could be indexed"),
        ('{"mapping.source": {"mode": "synthetic"}}', "index.mapping.source.mode: a synthetic source changes"),
        ('{"final_pipeline": "p"}', "index.final_pipeline: an ingest pipeline"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ('{"a": "' + "x" * 70_000 + '"}', "longer than"),
    ],
)
def test_what_cannot_be_set_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("[", r"\[")):
        index_options.parse(text)


def test_all_rejected_settings_are_named_at_the_start() -> None:
    text = '{"index.number_of_shards": 3, "index.codec": "default", "index.blocks.read_only": true}'

    with pytest.raises(SettingsError) as error:
        load_settings({"CRISP_INDEX_SETTINGS": text})

    assert error.value.problems == [
        "CRISP_INDEX_SETTINGS: index.number_of_shards: set CRISP_INDEX_SHARDS; "
        "index.blocks.read_only: nothing could be indexed"
    ]
