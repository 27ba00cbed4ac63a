"""The ledger of fields: types by workload, who was first, what does not fit the mapping."""

import orjson
import pytest

from pipeline.contract.record import UNKNOWN_POSITION
from pipeline.documents.batch import Document, DocumentBatch, from_documents
from pipeline.operations.inspect import field_ledger
from pipeline.operations.inspect.field_ledger import NO_FIELD, OVER_LIMIT, FieldLedger, Report, field_of_reason


def documents(workload: str, *bodies: dict[str, object]) -> DocumentBatch:
    namespace, _, name = workload.partition("/")
    common = {"kubernetes.namespace": namespace, "kubernetes.deployment.name": name, "message": "x"}
    return from_documents(
        [
            Document("logs-2026.11.24", f"{name}-{number}", orjson.dumps({**common, **body}))
            for number, body in enumerate(bodies)
        ],
        UNKNOWN_POSITION,
        [],
    )


def at(second: int, **fields: object) -> dict[str, object]:
    return {"@timestamp": f"2026-11-24T10:00:{second:02}.000000000Z", **fields}


def test_field_has_its_types_by_workload_with_the_first_value() -> None:
    ledger = FieldLedger()
    ledger.add(documents("shop/pay", at(5, status=200), at(3, status=404)))
    ledger.add(documents("shop/till", at(4, status="ok"), at(6, status=[True, 1.5, None])))

    pay, till = ledger.rows()
    assert (pay.workload, pay.since, {kind: use.values for kind, use in pay.types.items()}) == (
        "shop/pay",
        "2026-11-24T10:00:03.000000000Z",
        {"long": 2},
    )
    assert pay.types["long"].value == "404"
    assert (till.workload, {kind: use.values for kind, use in till.types.items()}) == (
        "shop/till",
        {"text": 1, "boolean": 1, "double": 1},
    )


def test_fields_of_the_pipeline_are_not_listed() -> None:
    ledger = FieldLedger()
    ledger.add(documents("shop/pay", {**at(1), "labels.team": "a", "crisp.rules": "d", "log.level": "info"}))

    assert ledger.rows() == []
    assert ledger.documents == 1


@pytest.mark.parametrize(
    ("mapped", "value", "problem"),
    [
        ("long", "ok", "text in a field of type long"),
        ("long", 1.5, "double in a field of type long"),
        ("double", 1, ""),
        ("double", True, "boolean in a field of type double"),
        ("keyword", 1, ""),
        ("keyword", True, ""),
        ("date", "2026-11-24", ""),
    ],
)
def test_value_of_another_type_than_the_field_is_a_problem(mapped: str, value: object, problem: str) -> None:
    ledger = FieldLedger()
    ledger.add(documents("shop/pay", at(1, field=value)))
    ledger.add_types({"field": (mapped,)})

    (row,) = ledger.rows()
    assert row.problems() == ([problem] if problem else [])


def test_all_workloads_of_a_field_with_a_problem_are_listed_the_first_at_the_top() -> None:
    ledger = FieldLedger()
    ledger.add(documents("shop/late", at(9, status="ok", fine=1)))
    ledger.add(documents("shop/first", at(1, status=200)))
    ledger.add_types({"status": ("long",), "fine": ("long",)})

    assert [(row.name, row.workload) for row in ledger.problems()] == [
        ("status", "shop/first"),
        ("status", "shop/late"),
    ]


def test_different_types_in_indices_are_a_problem() -> None:
    ledger = FieldLedger()
    ledger.add(documents("shop/pay", at(1, n="1")))
    ledger.add_types({"n": ("keyword", "text")})

    assert ledger.rows()[0].problems() == ["type differs between indices: keyword, text"]


def test_reports_of_elasticsearch_are_counted_with_an_example() -> None:
    ledger = FieldLedger()
    ledger.add(documents("shop/pay", at(1, n="1")))
    ledger.add_ignored([Report("n", "shop/pay", "logs-1", "a"), Report("n", "shop/pay", "logs-1", "b")])
    ledger.add_rejected([Report("m", "shop/till", "logs-1", "c")])

    rejected, ignored = ledger.problems()
    assert (ignored.problems(), ignored.examples) == (["value ignored in 2 documents"], {"ignored": "logs-1/b"})
    assert (rejected.name, rejected.since, rejected.problems()) == ("m", "", ["1 documents rejected"])


def test_document_over_the_field_limit_has_a_row() -> None:
    ledger = FieldLedger()
    ledger.add(documents("shop/pay", {**at(1), "app.overflow": '{"a":1}'}))

    (row,) = ledger.rows()
    assert row.name == OVER_LIMIT
    assert "CRISP_FIELD_LIMIT" in row.problems()[0]


def test_patterns_select_fields() -> None:
    ledger = FieldLedger(["http.*", "status"])
    ledger.add(documents("shop/pay", {**at(1), "http.took": 1, "status": 1, "statuses": 1}))

    assert [row.name for row in ledger.rows()] == ["http.took", "status"]
    assert ledger.left_out == 0, "fields that are not selected are not missed"


def test_rows_are_bounded_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_ledger, "MAX_ROWS", 2)
    ledger = FieldLedger()
    ledger.add(documents("shop/pay", at(1, a=1, b=1, c=1), at(2, a=1, d=1)))

    assert [row.name for row in ledger.rows()] == ["a", "b"]
    assert ledger.left_out == 2


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("400 document_parsing_exception: [1:9] failed to parse field [a.b] of type [long]", "a.b"),
        ("400 illegal_argument_exception: Limit of total fields [1000] has been exceeded", NO_FIELD),
    ],
)
def test_rejected_field_is_read_from_the_reason(reason: str, name: str) -> None:
    assert field_of_reason(reason) == name
