"""Reading many statuses ends in time, and within a limit of bytes."""

from pipeline.operations.inspect.read_limit import ReadLimit


def test_no_process_is_asked_after_the_deadline() -> None:
    limit = ReadLimit(seconds=-1.0)

    assert limit.problem() == "not asked within -1 s, after the others"
    assert limit.timeout(5.0) == 0.1
    assert ReadLimit(seconds=60.0).timeout(5.0) == 5.0


def test_no_process_is_asked_beyond_the_bytes_of_all() -> None:
    limit = ReadLimit(max_bytes=2 << 20)
    limit.add(2 << 20)
    assert limit.problem() == ""

    limit.add(1)
    assert limit.problem() == "not asked: the others' answers exceed 2 MiB"
