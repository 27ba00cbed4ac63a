"""A document that is not created at once is retried, falls back, or is dead-lettered; nothing else is sent again."""

import logging

import pytest

from pipeline.elasticsearch.rejections.pending_document import CANARY_ID
from tests.pipeline.elasticsearch.scene import INDEX, REJECTED, Scene, Source, document_id, make_batch, until
from tests.support.fake_elasticsearch import DocumentError, Request, Response

RACE = DocumentError(400, "illegal_argument_exception", "mapper [n] cannot be changed from type [long] to [text]")


async def test_rejected_document_is_indexed_in_a_fallback_form() -> None:
    scene = Scene()
    scene.reject("n")

    await scene.index(make_batch({"message": "a"}, {"message": "b", "n": "x"}))

    fallback = scene.sources()[document_id(1)]
    assert (fallback["message"], fallback["crisp.flattened"], fallback["log.flags"]) == ("b", {"n": "x"}, ["safe_form"])
    assert fallback["crisp.rejected.type"] == REJECTED.type
    assert (scene.count("created"), scene.count("fallback"), scene.rejected("original")) == (1, 1, 1)
    assert len(scene.indexer.rejection_handler.rejection_log.snapshot()) == 1


async def test_document_rejected_in_the_first_fallback_form_is_indexed_as_text() -> None:
    scene = Scene()
    scene.reject("n", "crisp.flattened")

    await scene.index(make_batch({"message": "b", "n": "x"}))

    fallback = scene.sources()[document_id(0)]
    assert (fallback["crisp.raw_json"], fallback["log.flags"]) == ('{"n":"x"}', ["safe_form"])
    assert (scene.rejected("original"), scene.rejected("flattened"), scene.count("fallback")) == (1, 1, 1)


async def test_document_rejected_in_every_form_is_dead_lettered_in_its_original_form(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.reject("n", "crisp.rejected.type")

    with caplog.at_level(logging.WARNING):
        await scene.index(make_batch({"message": "b", "n": "x"}))

    (dead_letter,) = scene.dead_letters
    assert (dead_letter.value, dead_letter.index, dead_letter.id) == (
        b'{"message":"b","n":"x"}',
        INDEX,
        document_id(0),
    )
    assert REJECTED.reason in dead_letter.reason
    assert scene.sources().keys() == {CANARY_ID}
    assert (scene.count("dead_lettered"), scene.rejected("text"), scene.count("fallback")) == (1, 1, 0)
    messages = [record.getMessage() for record in caplog.records]
    assert sum("retrying in a fallback form" in message for message in messages) == 2
    assert sum("rejected for its content in every form; it is dead-lettered" in message for message in messages) == 1


async def test_index_that_rejects_a_plain_document_is_unavailable_and_nothing_is_dead_lettered() -> None:
    scene = Scene()
    attempts = []

    def reject(_: str, source: dict[str, object]) -> DocumentError | None:
        if source.get("log.flags") == ["canary"]:
            attempts.append(scene.indexer.failing_since)
            assert scene.dead_letters == []
            return REJECTED if len(attempts) < 3 else None
        return REJECTED

    scene.elasticsearch.document_error = reject
    await scene.index(make_batch({"message": "b", "n": "x"}))

    assert len(attempts) == 3
    assert attempts[-1] is not None
    assert len(scene.dead_letters) == 1


async def test_only_documents_that_failed_are_sent_again() -> None:
    scene = Scene()
    busy = iter([DocumentError(429, "es_rejected_execution_exception", "queue full")])
    scene.elasticsearch.document_error = lambda _, source: next(busy, None) if source["message"] == "b" else None

    await scene.index(make_batch({"message": "a"}, {"message": "b"}, {"message": "c"}))

    first, second = scene.elasticsearch.bodies()
    assert (first.count(b'"create"'), second.count(b'"create"')) == (3, 1)
    assert b'"message":"b"' in second
    assert scene.count("created") == 3
    assert scene.indexer.failing_since is None


async def test_document_rejected_in_a_mapping_race_is_sent_again_unchanged_once() -> None:
    scene = Scene()
    errors = iter([RACE])
    scene.elasticsearch.document_error = lambda *_: next(errors, None)

    await scene.index(make_batch({"message": "b", "n": "x"}))

    assert scene.sources()[document_id(0)] == {"message": "b", "n": "x"}
    assert (scene.count("created"), scene.rejected("original")) == (1, 0)


async def test_document_rejected_again_after_a_mapping_race_falls_back() -> None:
    scene = Scene()
    scene.elasticsearch.document_error = lambda _, source: RACE if "n" in source else None

    await scene.index(make_batch({"message": "b", "n": "x"}))

    assert scene.sources()[document_id(0)]["crisp.flattened"] == {"n": "x"}
    assert (scene.count("fallback"), scene.rejected("original")) == (1, 1)


LINE: Source = {
    "@timestamp": "2026-11-24T10:00:00.000000001Z",
    "log.iostream": "stdout",
    "log.length": 50,
    "log.offset": 0,
    "message": "hello",
}
EVENT = {**LINE, "message": "longer", "log.length": 9, "log.flags": ["multiline"]}


async def test_existing_document_is_a_duplicate() -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {**LINE, "event.ingested": "before"})

    await scene.index(make_batch(LINE))

    assert scene.sources() == {document_id(0): {**LINE, "event.ingested": "before"}}
    assert (scene.count("duplicate"), scene.count("created"), scene.count("conflicting")) == (1, 0, 0)


OTHER_LINES: list[Source] = [
    {},
    {"message": "hello"},
    {**LINE, "@timestamp": "2026-11-24T10:00:00.000000002Z"},
    {**LINE, "log.length": 51},
    {**LINE, "log.length": 10},
    {**LINE, "log.length": "50"},
    {**LINE, "log.iostream": "stderr"},
    {**LINE, "message": "HELLO"},
]


@pytest.mark.parametrize("stored", OTHER_LINES)
async def test_line_whose_id_a_document_of_another_line_has_is_indexed_beside_it(
    stored: Source, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), stored)

    await scene.index(make_batch(LINE, {**LINE, "log.offset": 50}))

    beside = {key: source for key, source in scene.sources().items() if "!" in key}
    assert list(beside.values()) == [{**LINE, "log.flags": ["id_conflict"]}]
    assert next(iter(beside)).startswith(f"{document_id(0)}!")
    assert scene.sources()[document_id(0)] == stored
    assert (scene.count("conflicting"), scene.count("duplicate"), scene.count("created")) == (1, 0, 1)
    assert "check who may write to the raw topic" in caplog.text


async def test_line_indexed_beside_another_is_a_duplicate_when_it_comes_again() -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {**LINE, "message": "forged"})

    await scene.index(make_batch(LINE), make_batch(LINE))

    assert len(scene.sources()) == 2
    assert (scene.count("conflicting"), scene.count("duplicate")) == (1, 1)


async def test_several_lines_of_one_id_are_all_indexed() -> None:
    scene = Scene()
    messages = ["a", "b", "c", "d"]

    for message in messages:
        scene.submit(make_batch({**LINE, "message": message}))
    async with scene.running():
        await until(lambda: len(scene.completed) == len(messages))

    assert sorted(source["message"] for source in scene.sources().values()) == messages


SAME_LINES: list[Source] = [
    {**LINE, "log.iotime": LINE["@timestamp"], "@timestamp": "2026-11-24T09:00:00Z"},  # the line's own time was read
    {**LINE, "message": "x", "crisp.rules": "other rules"},
    {**LINE, "message": "say hello"},  # another parser
    {**LINE, "message": "[redacted bearer]"},
    {name: value for name, value in LINE.items() if name != "message"},
    {**LINE, "log.flags": ["late", "safe_form"]},
    {**LINE, "log.flags": ["unparsed"], "@timestamp": "2026-11-24T11:00:00Z"},
    {**LINE, "log.flags": ["multiline"], "log.length": 500, "message": "hello\n  at x"},
]


@pytest.mark.parametrize("stored", SAME_LINES)
async def test_line_made_under_other_settings_is_a_duplicate(stored: Source) -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), stored)

    await scene.index(make_batch(LINE))

    assert scene.sources() == {document_id(0): stored}
    assert scene.count("duplicate") == 1


NUL_LINE: Source = {**LINE, "log.flags": ["nul_bytes"]}
STORED_NUL_LINE: Source = {
    **{name: value for name, value in LINE.items() if name != "log.iostream"},
    "@timestamp": "2026-11-24T08:00:00Z",
    "log.flags": ["unparsed"],
    "message": f"\0\0{LINE['@timestamp']} stdout F hello",
}


@pytest.mark.parametrize(
    ("document", "stored", "count"),
    [
        (NUL_LINE, STORED_NUL_LINE, "duplicate"),
        ({**NUL_LINE, "message": "2 NUL bytes"}, {**STORED_NUL_LINE, "message": "\0\0"}, "duplicate"),
        (NUL_LINE, {**STORED_NUL_LINE, "message": "\0\0another line"}, "conflicting"),
        (LINE, {**LINE, "message": "\0\0", "log.flags": ["nul_bytes"]}, "conflicting"),
    ],
)
async def test_line_behind_nul_bytes_is_that_which_an_earlier_version_kept_with_them(
    document: Source, stored: Source, count: str
) -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), stored)

    await scene.index(make_batch(document))

    assert scene.count(count) == 1


async def test_gap_that_exists_is_a_duplicate() -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {"message": "500 bytes are lost"})

    await scene.index(make_batch({"message": "600 bytes are lost", "log.offset": 9}))

    assert scene.count("duplicate") == 1


@pytest.mark.parametrize(
    ("stored", "is_extended"),
    [
        ({**EVENT, "log.length": 5, "message": "long"}, True),
        ({**EVENT, "log.length": 5, "message": "long", "log.flags": []}, True),
        (EVENT, False),
        ({**EVENT, "log.length": 12, "message": "longer still"}, False),
    ],
)
async def test_longer_event_is_indexed_in_addition_to_a_shorter_stored_one(
    stored: Source,
    is_extended: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), stored)

    await scene.index(make_batch(EVENT))

    copy = scene.sources().get(f"{document_id(0)}~9")
    assert copy == ({**EVENT, "log.flags": ["multiline", "continued"]} if is_extended else None)
    assert (scene.count("duplicate"), scene.count("extended")) == (1, int(is_extended))


async def test_extended_document_that_exists_is_not_counted_again() -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {**EVENT, "log.length": 5})
    scene.elasticsearch.add_document(INDEX, f"{document_id(0)}~9", EVENT)

    await scene.index(make_batch(EVENT))

    assert (scene.count("duplicate"), scene.count("extended")) == (1, 0)


async def test_rejected_extended_document_keeps_its_id_and_its_count() -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {**EVENT, "log.length": 5})
    scene.elasticsearch.document_error = lambda _, source: REJECTED if source["log.flags"][-1] == "continued" else None

    await scene.index(make_batch({**EVENT, "n": "x"}))

    copy = scene.sources()[f"{document_id(0)}~9"]
    assert copy["log.flags"] == ["multiline", "continued", "safe_form"]
    assert (scene.count("extended"), scene.count("fallback")) == (1, 0)


async def test_document_deleted_meanwhile_is_sent_again() -> None:
    """It was deleted between the bulk response and the comparison."""
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), LINE)

    def delete(_: Request) -> Response:
        del scene.elasticsearch.indices[INDEX].documents[document_id(0)]
        return Response(200, {"docs": [{"_index": INDEX, "_id": document_id(0), "found": False}]})

    scene.elasticsearch.respond("POST", "/_mget", delete)

    await scene.index(make_batch(LINE))

    assert scene.sources() == {document_id(0): LINE}
    assert (scene.count("duplicate"), scene.count("created")) == (0, 1)


STRANGE_ANSWERS = [
    Response(404, {"found": False}),
    Response(404, "not found", "text/html"),
    Response(200, {}),
    Response(200, []),
    Response(200, {"docs": []}),
    Response(200, {"docs": [{"found": False}]}),
    Response(200, {"docs": [{"_id": "another", "found": False}]}),
    Response(200, {"docs": [{"_id": document_id(0), "found": True, "_source": [1]}]}),
    Response(200, {"docs": [{"_id": document_id(0), "error": "a text"}]}),
    Response(200, {"docs": "many"}),
    Response(200, b"<html>"),
]


@pytest.mark.parametrize("answer", STRANGE_ANSWERS)
async def test_answer_of_a_proxy_to_the_comparison_is_not_believed(answer: Response) -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {**EVENT, "log.length": 5})
    scene.elasticsearch.respond("POST", "/_mget", answer, answer)

    await scene.index(make_batch(EVENT))

    assert f"{document_id(0)}~9" in scene.sources()


async def test_stored_documents_larger_than_a_response_are_compared_in_parts() -> None:
    scene = Scene()
    for number in range(4):
        scene.elasticsearch.add_document(INDEX, document_id(number), {**LINE, "log.offset": number})
    too_large = OSError("the response exceeds 32 MiB")
    scene.elasticsearch.respond("POST", "/_mget", too_large, too_large)

    await scene.index(make_batch(*({**LINE, "log.offset": number} for number in range(4))))

    assert scene.count("duplicate") == 4


async def test_many_rejections_are_a_high_rate(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.reject("n")

    await scene.index(make_batch(*[{"n": number} for number in range(100)]))
    scene.indexer.rejection_handler.refresh_rate()

    assert scene.indexer.rejection_handler.rejection_rate.exceeded
    assert "rejection rate high" in caplog.text
