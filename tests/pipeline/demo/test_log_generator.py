"""The demo's containers: what is written is in the ledger, in files as containerd and the kubelet make them."""

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from pipeline.contract import cri
from pipeline.demo import container_log
from pipeline.demo.container_log import ContainerLog
from pipeline.demo.ledger import Balance, Ledger, document_keys, line_key
from pipeline.demo.log_generator import LogGenerator
from pipeline.demo.pod_replacer import LINES_PER_POD_SET, RETRY_SECONDS, PodReplacer


def read_lines(log: ContainerLog) -> list[bytes]:
    """The lines of a container: of all files, partials joined."""
    raw = b""
    for path in sorted(log.directory.iterdir(), key=lambda path: (path.name == "0.log", path.name)):
        raw += gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines, joined = [], b""
    for line in raw.splitlines():
        _, _, tag, content = line.split(b" ", 3)
        joined += content
        if tag == b"F":
            lines.append(joined)
            joined = b""
    return lines


def searchable(generator: LogGenerator) -> Counter[bytes]:
    """The keys of the written lines, as if all were indexed."""
    return Counter(line_key(log.uid, line) for log in generator.logs() for line in read_lines(log))


def test_written_lines_are_those_of_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger()
    generator = LogGenerator(tmp_path, ledger, seed=1, watch_interval=3)
    generator.write(300)
    generator.copy_output()
    found = searchable(generator)
    generator.close()

    assert ledger.balance(found) == Balance(ledger.lines, ledger.lines, 0, 0)
    assert generator.watched_traces
    assert all(
        cri.parse(line) for log in generator.logs() for line in (log.directory / "0.log").read_bytes().splitlines()
    )


def test_ledger_counts_missing_and_duplicated_lines(tmp_path: Path) -> None:
    ledger = Ledger()
    for line in (b"one", b"two", b'{"event":{"sequence":7},"message":"three"}'):
        ledger.record("uid", line)
    keys = document_keys({"kubernetes.pod.uid": "uid", "message": "one\none"})
    keys += document_keys({"kubernetes.pod.uid": "uid", "message": "three", "event.sequence": 7})

    assert ledger.balance(Counter(keys)) == Balance(written=3, searchable=2, missing=1, duplicated=1)
    assert not ledger.finalise(["uid"], Counter(keys))
    keys += document_keys({"kubernetes.pod.uid": "uid", "message": "two"})
    assert ledger.finalise(["uid"], Counter(keys))
    assert ledger.open_containers() == []
    assert ledger.balance(Counter()).duplicated == 1


def test_output_of_a_server_is_copied_by_complete_lines(tmp_path: Path) -> None:
    ledger = Ledger()
    output = tmp_path / "output"
    output.write_bytes(b"first\nsec")
    generator = LogGenerator(tmp_path / "logs", ledger, seed=1)
    generator.follow_output("kafka", output)
    generator.copy_output()
    with output.open("ab") as file:
        file.write(b"ond\n")
    generator.copy_output()
    log = generator.logs()[-1]
    generator.close()

    assert read_lines(log) == [b"first", b"second"]


def test_long_line_is_written_in_partials(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path, "shop", "pay-1", "u", "pay", rotate_bytes=1000)
    for length in (0, container_log.PARTIAL_BYTES, 2 * container_log.PARTIAL_BYTES + 1):
        log.write("stdout", b"x" * length)
    log.close()

    tags = [line.split(b" ", 3)[2] for line in (log.directory / "0.log").read_bytes().splitlines()]
    assert tags == [b"F", b"F", b"P", b"P", b"F"]


def test_rotated_files_are_compressed_and_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    log = ContainerLog(tmp_path, "shop", "pay-1", "u", "pay", rotate_bytes=10, max_rotated=2)
    log.rotate()  # too small
    for number in range(4):
        log.write("stdout", b"line %d of this container" % number)
        log.rotate()
        log.rotate()  # within the same second
        now += 2.0
    log.close()

    names = sorted(os.listdir(log.directory))
    assert log.rotations == 4
    assert names == ["0.log", "0.log.20270115-080004.gz", "0.log.20270115-080006"]


class Searcher:
    """Finds what the test gives it."""

    def __init__(self) -> None:
        self.found: Counter[bytes] = Counter()

    def line_keys(self, _uids: list[str]) -> Counter[bytes]:
        return self.found


def test_logs_of_replaced_pods_are_deleted_when_their_lines_are_searchable(tmp_path: Path) -> None:
    ledger, searcher = Ledger(), Searcher()
    generator = LogGenerator(tmp_path, ledger, seed=2)
    generator.write(100)
    old = generator.logs()
    replacer = PodReplacer(generator, ledger, searcher)  # type: ignore[arg-type]
    replacer.poll(0.0)
    assert generator.logs() == old
    everything = searchable(generator)
    ledger.lines += LINES_PER_POD_SET

    replacer.poll(0.0)
    assert generator.logs() != old
    for now, found in ((RETRY_SECONDS, Counter[bytes]()), (3 * RETRY_SECONDS, everything)):
        searcher.found = found
        replacer.poll(now)  # starts the search
        assert replacer._search is not None
        replacer._search.result(10)
        replacer.poll(now)
    replacer.close()
    generator.close()

    assert replacer.finalised == len(old)
    assert not [log for log in old if log.directory.exists()]
