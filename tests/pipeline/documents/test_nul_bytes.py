"""NUL bytes before lines are left out, and the line behind them keeps its time and stream; ids stay the same."""

from typing import Any

import orjson
import pytest

from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.documents.builder import DocumentBuilder
from pipeline.grouping.grouper import group_slice

SECOND_NS = 10**9
NOW = 1_795_513_350 * SECOND_NS  # 2026-11-24T09:42:30Z
MAX_BYTES = 4096
INSTANCE = Instance("shop", "pay-1", "u-1", "pay", 2)
BEFORE = b"2026-11-24T09:42:30Z stdout F before\n"
TIME = "2026-11-24T09:42:31Z"
GLUED = TIME.encode() + b" stderr F glued\n"
DOCKER = b'{"log":"glued\\n","stream":"stderr","time":"2026-11-24T09:42:31Z"}\n'


def make_slice(value: bytes, **metadata: list[str]) -> LogSlice:
    return LogSlice(
        value=value,
        files=(SourceFile("AAAAAAAAAAAAAAAA", "/var/log/pods/p/c/0.log"),),
        segments=(Segment(0, 0, len(value)),),
        node="n-1",
        read_at=NOW,
        grouping=Grouping(max_bytes=MAX_BYTES),
        pod=orjson.dumps({**orjson.loads(pod_metadata.from_path(INSTANCE, "n-1")), **metadata}),
    )


def documents(value: bytes) -> list[dict[str, Any]]:
    """Return the documents; fail if an id, an offset or a length is not that of the grouped bytes."""
    log_slice = make_slice(value)
    hits = DocumentBuilder(Settings()).build(log_slice, NOW + SECOND_NS).to_hits()
    sources: list[dict[str, Any]] = [hit["_source"] for hit in hits]
    grouped = group_slice(log_slice)
    assert [int(hit["_id"].rpartition("-")[2], 16) for hit in hits] == [event[1] for event in grouped]
    assert [(source["log.offset"], source["log.length"]) for source in sources] == [event[1:3] for event in grouped]
    return sources


@pytest.mark.parametrize("glued", [GLUED, DOCKER])
@pytest.mark.parametrize("count", [1, 7, 1000, MAX_BYTES - 200, 3 * MAX_BYTES + 5])
@pytest.mark.parametrize("before", [b"", BEFORE])
def test_line_behind_nul_bytes_keeps_its_time_and_stream(before: bytes, count: int, glued: bytes) -> None:
    line = documents(before + bytes(count) + glued + BEFORE)[-2]

    assert (line["@timestamp"], line["log.iostream"], line["message"]) == (TIME, "stderr", "glued")
    assert "nul_bytes" in line["log.flags"]
    assert "unparsed" not in line["log.flags"]


def test_part_of_an_oversized_line_without_nul_bytes_is_unparsed() -> None:
    _, part = documents(TIME.encode() + b" stdout F " + b"x" * MAX_BYTES + b"\n")

    assert part["log.flags"] == ["split", "unparsed"]


def test_json_behind_nul_bytes_is_parsed() -> None:
    (line,) = documents(bytes(9) + TIME.encode() + b' stdout F {"level":"error","message":"failed"}\n')

    assert (line["log.level"], line["message"], line["log.flags"]) == ("error", "failed", ["nul_bytes"])


def test_partial_behind_nul_bytes_is_flagged() -> None:
    (line,) = documents(bytes(9) + TIME.encode() + b" stdout P begin\n")

    assert (line["message"], line["log.flags"]) == ("begin", ["partial", "nul_bytes"])


@pytest.mark.parametrize("count", [1, 512, 2 * MAX_BYTES - 1])
def test_hole_is_reported_instead_of_its_bytes(count: int) -> None:
    _, *holes, last = documents(BEFORE + bytes(count) + b"\n" + GLUED)

    assert "nul_bytes" not in last.get("log.flags", ())
    assert sum(source["log.length"] for source in holes) == count + 1
    assert all("nul_bytes" in hole["log.flags"] and "\0" not in hole["message"] for hole in holes)
    assert holes[0]["message"].startswith(f"{min(count, MAX_BYTES)} NUL bytes: ")


def test_rest_of_a_line_behind_a_hole_is_kept_without_the_hole() -> None:
    (rest,) = documents(bytes(512) + b"rest of a line\n")

    assert (rest["message"], rest["log.flags"]) == ("rest of a line", ["unparsed", "nul_bytes"])


@pytest.mark.parametrize("content", [b"\0a\0b", bytes(511) + b"x", b"a" + bytes(600)])
def test_nul_bytes_of_other_text_stay(content: bytes) -> None:
    (line,) = documents(content + b"\n")

    assert (line["message"], line["log.flags"]) == (content.decode(), ["unparsed"])


def test_nul_bytes_within_a_line_stay() -> None:
    (line,) = documents(TIME.encode() + b" stdout F \0\0a\0\n")

    assert (line["message"], "log.flags" in line) == ("\0\0a\0", False)


def test_line_of_an_excluded_stream_behind_nul_bytes_is_dropped() -> None:
    log_slice = make_slice(bytes(9) + GLUED + BEFORE, excluded=["stderr"])
    hits = DocumentBuilder(Settings()).build(log_slice, NOW).to_hits()

    assert [hit["_source"]["message"] for hit in hits] == ["before"]
