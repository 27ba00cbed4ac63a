"""Every field of the index template on a real server: searchable, aggregatable, sortable, in the fields API."""

from typing import Any

import pytest

from pipeline.contract.ecs import FIELDS, Field
from pipeline.elasticsearch import index_template
from tests.integration.flow import Flow

TIME = "2026-11-24T09:42:30.686000001Z"
VALUES: dict[str, Any] = {
    "keyword": "a value",
    "wildcard": "/a value",
    "match_only_text": "a value",
    "text": "a value",
    "long": 7,
    "double": 0.5,
    "boolean": True,
    "date_nanos": TIME,
    "ip": "10.0.0.1",
    "flattened": {"a.key": "a value"},
}
OTHER: dict[str, Any] = {"keyword": "b", "long": 70, "double": 0.75}
"""Values of the types that have fields with doc values only, in a second document."""
FULL_TEXT = {"match_only_text", "text"}
INDEXED = {name: field for name, field in FIELDS.items() if field.index}
DOC_VALUES_ONLY = {name: field for name, field in FIELDS.items() if field.doc_values_only}


def document(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[field.type] for name, field in FIELDS.items() if field.type in values}


def target(field: Field) -> Field:
    return FIELDS[field.path] if field.type == "alias" else field


def search(flow: Flow, query: dict[str, Any], **options: Any) -> list[str]:
    """Return the ids of the documents that a search finds, in order."""
    body = {"query": query, "sort": ["_doc"], "_source": False, **options}
    return [hit["_id"] for hit in flow.request(f"{flow.prefix}-*/_search", body)["hits"]["hits"]]


@pytest.fixture
def fields(flow: Flow) -> Flow:
    """A flow whose index has one document with every field, and one with other values."""
    put_documents(flow, f"{flow.prefix}-2026.11.24")
    return flow


def put_documents(flow: Flow, index: str) -> None:
    flow.request(f"{index}/_create/1", document(VALUES), "PUT")
    flow.request(f"{index}/_create/2?refresh=true", document(OTHER) | {"@timestamp": TIME}, "PUT")


def test_every_field_is_searchable(fields: Flow) -> None:
    wrong = []
    for name, field in INDEXED.items():
        value = VALUES[target(field).type]
        part, value = (f"{name}.a.key", value["a.key"]) if field.type == "flattened" else (name, value)
        query = {"match": {part: value}}  # of a type without full text: a query for the whole value
        exists, first = {"exists": {"field": name}}, {"ids": {"values": ["1"]}}
        if search(fields, {"bool": {"filter": [query, exists, first]}}) != ["1"]:
            wrong.append(name)

    assert wrong == []


def test_every_field_is_in_the_fields_api(fields: Flow) -> None:
    body = {"query": {"ids": {"values": ["1"]}}, "fields": ["*"], "_source": False}
    (hit,) = fields.request(f"{fields.prefix}-*/_search", body)["hits"]["hits"]

    assert [name for name in FIELDS if name not in hit["fields"] and f"{name}.a.key" not in hit["fields"]] == []


def test_every_field_is_aggregatable_or_full_text(fields: Flow) -> None:
    capabilities = fields.request(f"{fields.prefix}-*/_field_caps?fields=*")["fields"]
    found = {name: next(iter(capabilities[name].values())) for name in FIELDS}

    assert [name for name in INDEXED if not found[name]["searchable"]] == []
    assert [name for name, field in INDEXED.items() if not found[name]["aggregatable"]] == [
        name for name, field in INDEXED.items() if found[name]["type"] in FULL_TEXT
    ]


def queries_of(name: str, field: Field) -> dict[str, dict[str, Any]]:
    """Return each kind of query for a field, which finds the first document only."""
    if field.type == "keyword":
        return {
            "term": {"term": {name: "a value"}},
            "terms": {"terms": {name: ["a value", "c"]}},
            "prefix": {"prefix": {name: "a va"}},
            "wildcard": {"wildcard": {name: "*val*"}},
            "regexp": {"regexp": {name: "a v.l.e"}},
            "range": {"range": {name: {"lt": "b"}}},
            "query string": {"query_string": {"query": f'{name}:"a value"'}},
        }
    value = VALUES[field.type]
    if field.type == "date_nanos":
        return {"range": {"range": {name: {"gte": TIME}}}, "term": {"term": {name: TIME}}}
    return {
        "term": {"term": {name: value}},
        "terms": {"terms": {name: [value, 100]}},
        "range": {"range": {name: {"lte": value}}},
        "query string": {"query_string": {"query": f"{name}:<={value}"}},
    }


def test_field_without_index_has_every_kind_of_query(fields: Flow) -> None:
    wrong = [
        f"{name}: {kind}"
        for name, field in DOC_VALUES_ONLY.items()
        for kind, query in queries_of(name, field).items()
        if search(fields, query) != ["1"]
    ]

    assert wrong == []


def test_field_without_index_is_aggregated_and_sorted(fields: Flow) -> None:
    aggregations = {name.replace(".", "_"): {"terms": {"field": name}} for name in DOC_VALUES_ONLY}
    result = fields.request(f"{fields.prefix}-*/_search", {"size": 0, "aggs": aggregations})["aggregations"]

    for name, field in DOC_VALUES_ONLY.items():
        expected = 2 if field.type in OTHER else 1
        assert len(result[name.replace(".", "_")]["buckets"]) == expected, name
        assert search(fields, {"exists": {"field": name}}, sort=[{name: "asc"}])[0] == "1", name


def test_indices_of_template_version_3_are_searched_along(flow: Flow) -> None:
    """In version 3 every field had an index. Its indices keep their mapping, and accept documents of this version."""
    path, old = f"_index_template/crisp-{flow.prefix}", f"{flow.prefix}-2026.11.23"
    template = flow.request(path)["index_templates"][0]["index_template"]
    for name in DOC_VALUES_ONLY:
        assert template["template"]["mappings"]["properties"][name].pop("index") is False
    template["version"] = template["_meta"]["version"] = template["template"]["mappings"]["_meta"]["version"] = 3
    flow.request(path, template, "PUT")
    put_documents(flow, old)

    messages = flow.set_up()
    put_documents(flow, f"{flow.prefix}-2026.11.24")

    updated = f"index template crisp-{flow.prefix}: differed, updated, version {index_template.VERSION}: "
    assert any(message.startswith(updated) for message in messages)
    assert f"  index {old} keeps the mapping of version 3" in messages
    for name, field in DOC_VALUES_ONLY.items():
        for kind, query in queries_of(name, field).items():
            assert search(flow, query) == ["1", "1"], f"{name}: {kind}"
