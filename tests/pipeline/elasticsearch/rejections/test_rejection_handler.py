"""A document that is not created at once is retried, falls back, or is dead-lettered; nothing else is sent again."""

import logging

import pytest

from pipeline.elasticsearch.rejections.pending_document import CANARY_ID
from tests.pipeline.elasticsearch.scene import INDEX, REJECTED, Scene, document_id, make_batch
from tests.support.fake_elasticsearch import DocumentError, Response

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


async def test_existing_document_is_a_duplicate() -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {"message": "stored"})

    await scene.index(make_batch({"message": "again"}))

    assert scene.sources()[document_id(0)] == {"message": "stored"}
    assert (scene.count("duplicate"), scene.count("created")) == (1, 0)


@pytest.mark.parametrize(("stored", "extended"), [({"log.length": 5}, True), ({"log.length": 9}, False), ({}, False)])
async def test_longer_event_is_indexed_in_addition_to_a_shorter_stored_one(
    stored: dict[str, int],
    extended: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), stored)

    await scene.index(make_batch({"message": "longer", "log.flags": ["multiline"]}, _0=9))

    copy = scene.sources().get(f"{document_id(0)}~9")
    assert copy == ({"message": "longer", "log.flags": ["multiline", "continued"]} if extended else None)
    assert (scene.count("duplicate"), scene.count("extended")) == (1, int(extended))


async def test_extended_document_that_exists_is_not_counted_again() -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {"log.length": 5})
    scene.elasticsearch.add_document(INDEX, f"{document_id(0)}~9", {"log.length": 9})

    await scene.index(make_batch({"message": "longer"}, _0=9))

    assert (scene.count("duplicate"), scene.count("extended")) == (1, 0)


async def test_rejected_extended_document_keeps_its_id_and_its_count() -> None:
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {"log.length": 5})
    scene.elasticsearch.document_error = lambda _, source: REJECTED if source["log.flags"] == ["continued"] else None

    await scene.index(make_batch({"message": "longer", "n": "x", "log.flags": []}, _0=9))

    copy = scene.sources()[f"{document_id(0)}~9"]
    assert copy["log.flags"] == ["continued", "safe_form"]
    assert (scene.count("extended"), scene.count("fallback")) == (1, 0)


async def test_deleted_document_is_not_extended() -> None:
    """It was deleted between the bulk response and the request for its length."""
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, document_id(0), {"log.length": 5})
    scene.elasticsearch.respond("GET", f"/{INDEX}/_doc/*", Response(404, {"found": False}))

    await scene.index(make_batch({"message": "longer"}, _0=9))

    assert (scene.count("duplicate"), scene.count("extended")) == (1, 0)


async def test_many_rejections_are_a_high_rate(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.reject("n")

    await scene.index(make_batch(*[{"n": number} for number in range(100)]))
    scene.indexer.rejection_handler.refresh_rate()

    assert scene.indexer.rejection_handler.rejection_rate.exceeded
    assert "rejection rate high" in caplog.text
