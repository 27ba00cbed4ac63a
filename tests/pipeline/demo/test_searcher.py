"""The demo's searches while Elasticsearch is away: polled again later; without it nothing is counted as missing."""

import pytest

from pipeline.demo.searcher import Searcher
from pipeline.errors import StackError
from pipeline.local.process import free_ports


@pytest.fixture
def searcher() -> Searcher:
    (port,) = free_ports(1)
    return Searcher(f"http://127.0.0.1:{port}")


def test_poll_without_elasticsearch_waits_for_it(searcher: Searcher) -> None:
    searcher.watch("abc")
    searcher.poll()

    assert (searcher.count(), searcher.outstanding(), searcher.examples()) == (0, 1, [])


def test_lines_are_not_counted_as_missing_without_elasticsearch(searcher: Searcher) -> None:
    with pytest.raises(StackError, match="its documents cannot be counted"):
        searcher.line_keys(["uid"])
