"""Probes are recognised in every format of requests; only successful ones to configured paths are dropped."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.settings import Settings
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.builder import DocumentBuilder
from tests.pipeline.rules.rulesfile import NOW, metadata

LINES = Path(__file__).with_name("probes.txt").read_text().splitlines()


def _build_batch(line: str, **settings: Any) -> DocumentBatch:
    value = f"2026-11-24T09:42:30Z stdout F {line}\n".encode()
    file, segment = SourceFile("AAAAAAAAAAAAAAAA", ""), Segment(0, 0, len(value))
    log_slice = LogSlice(value, (file,), (segment,), "n-1", NOW, Grouping(), metadata())
    return DocumentBuilder(Settings(**settings)).build(log_slice, NOW)


@pytest.mark.parametrize("line", LINES)
def test_probe_is_dropped_and_counted_in_every_format(line: str) -> None:
    batch = _build_batch(line)

    assert (dict(batch.dropped), batch.sources) == ({"health probe": 1}, [])


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("failure", ["503", "404"])
def test_failed_probe_is_kept_in_every_format(line: str, failure: str) -> None:
    status = next(text for text in (" 200 ", ":200", '"200"', "=200") if text in line)

    assert not _build_batch(line.replace(status, status.replace("200", failure))).dropped


@pytest.mark.parametrize("line", LINES)
def test_request_to_another_path_is_kept_in_every_format(line: str) -> None:
    assert not _build_batch(line.replace("/healthz", "/healthz/more").replace("/ping", "/pinged")).dropped


@pytest.mark.parametrize("line", LINES)
def test_probe_paths_are_a_setting(line: str) -> None:
    assert not _build_batch(line, health_paths=()).dropped
    assert _build_batch(
        line.replace("/healthz", "/alive").replace("/ping", "/alive"), health_paths=("/x", "/alive")
    ).dropped


@pytest.mark.parametrize("text", ["Database ready", "GET /healthz 200", "GET /ready HTTP/1.1 200", "ready: 200 /ready"])
def test_line_that_mentions_a_probe_is_kept(text: str) -> None:
    assert not _build_batch(text).dropped
