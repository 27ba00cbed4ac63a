"""`crisp ship` over a Kafka in memory: `--once` ends in every case, and with 0 only if everything is shipped."""

import gzip
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from agents.containers import ContainerLogs
from agents.discovery.scanner import DiscoveredFile, Scan
from agents.state.checkpoint import Checkpoint
from agents.tailing.standby_files import StandbyFiles
from pipeline.contract import bundle, record
from pipeline.contract.record import LogSlice
from pipeline.monitoring import log
from tests.support.command_line import CommandLine

pytestmark = pytest.mark.timeout(30)

START_NS = time.time_ns() - 3600 * 10**9
DIRECTORY = "pods/shop_pay-1_0f0f0f0f-0000-0000-0000-000000000001/app"


def line(number: int, tag: str = "F") -> bytes:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START_NS // 10**9))
    return f"{moment}.{number:09d}Z stdout {tag} line {number}\n".encode()


class Node:
    """A container's log directory, and `crisp ship` on its node."""

    def __init__(self, crisp: CommandLine, root: Path) -> None:
        self.crisp = crisp
        self.root = root
        self.state = root / "state"
        self.log = root / DIRECTORY / "0.log"
        self.log.parent.mkdir(parents=True)

    def ship(self) -> tuple[int, str]:
        """Run `crisp ship --once`; return its code and its error output."""
        result = self.crisp("ship", "--once")
        assert result.out == ""
        return result.code, result.err

    def shipped(self) -> bytes:
        """Return the lines that Kafka has, in their order in the files."""
        return b"".join(log_slice.value for log_slice in self.slices())

    def slices(self) -> Iterator[LogSlice]:
        for stored in self.crisp.kafka.records(self.crisp.settings.topic_raw):
            for value, headers in bundle.expand(stored.value or b"", list(stored.headers)):
                yield record.decode(value, headers)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Node:
    crisp = CommandLine(monkeypatch, capsys)
    monkeypatch.setattr(log, "configure", lambda *_: None)  # the handlers of this process stay
    crisp.configure(
        CRISP_LOGS_DIR=str(tmp_path / "pods"),
        CRISP_STATE_DIR=str(tmp_path / "state"),
        CRISP_KUBERNETES="off",
        CRISP_SHIP_PORT="0",
        CRISP_SCAN_SECONDS="0.1",
        CRISP_PARTIAL_GAP_SECONDS="1",
        CRISP_SHIP_GRACE_SECONDS="0.2",
    )
    crisp.kafka.create_topic(crisp.settings.topic_raw, partitions=2)
    return Node(crisp, tmp_path)


@contextmanager
def meanwhile(action: Callable[[], None], seconds: float = 0.4) -> Iterator[None]:
    """Run an action in a thread after some time, unless the block has ended before."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def stop_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_once_ships_every_line_and_succeeds(node: Node) -> None:
    node.log.write_bytes(b"".join(map(line, range(5))))

    assert node.ship() == (0, "")
    assert node.shipped() == node.log.read_bytes()


def test_second_run_in_the_same_process_ships_only_new_lines(node: Node) -> None:
    node.log.write_bytes(line(0))
    assert node.ship() == (0, "")
    with node.log.open("ab") as live:
        live.write(line(1))

    assert node.ship() == (0, "")
    assert node.shipped() == line(0) + line(1)


def test_incomplete_last_line_is_left_for_the_next_run(node: Node) -> None:
    node.log.write_bytes(line(0) + line(1)[:-9])

    assert node.ship() == (0, "")
    assert node.shipped() == line(0)


def test_partial_without_an_end_is_shipped(node: Node) -> None:
    node.log.write_bytes(line(0) + line(1, "P"))

    assert node.ship() == (0, "")
    assert node.shipped() == node.log.read_bytes()


def test_rotated_and_compressed_files_are_shipped_first(node: Node) -> None:
    node.log.with_name("0.log.20260101-000000.gz").write_bytes(gzip.compress(line(0)))
    node.log.with_name("0.log.20260101-000001").write_bytes(line(1))
    node.log.write_bytes(line(2))

    assert node.ship() == (0, "")
    assert sorted(node.shipped().splitlines(keepends=True)) == [line(0), line(1), line(2)]


def test_vanished_file_is_shipped_as_a_gap(node: Node) -> None:
    node.log.write_bytes(line(0))
    assert node.ship() == (0, "")
    node.log.unlink()
    node.log.write_bytes(b"")

    assert node.ship() == (0, "")
    assert len(node.crisp.kafka.records(node.crisp.settings.topic_raw)) == 2


def test_rejected_record_is_sent_again(node: Node) -> None:
    node.log.write_bytes(line(0))
    node.crisp.kafka.fail_deliveries(TopicAuthorizationFailedError())

    assert node.ship() == (0, "")
    assert node.shipped() == line(0)


def test_node_without_logs_is_no_success(node: Node) -> None:
    assert node.ship() == (1, "crisp ship: No log file found: are the log directories those of this node?\n")


@pytest.mark.parametrize("reason", ["Kafka is unavailable", "Kafka does not acknowledge", "no topic"])
def test_once_that_is_stopped_before_everything_is_acknowledged_is_no_success(node: Node, reason: str) -> None:
    node.log.write_bytes(line(0))
    if reason == "Kafka is unavailable":
        node.crisp.kafka.unavailable = True
    elif reason == "no topic":
        node.crisp.kafka.topics.clear()
    else:
        node.crisp.kafka.withhold()

    with meanwhile(stop_process):
        code, error = node.ship()

    assert (code, error) == (1, "crisp ship: stopped before every line was shipped and acknowledged\n")


def test_shipper_without_once_ends_with_0_when_it_is_stopped(node: Node) -> None:
    node.log.write_bytes(line(0))

    with meanwhile(stop_process):
        result = node.crisp("ship")

    assert result == (0, "", "")
    assert node.shipped() == line(0)


def test_stop_ends_the_wait_for_another_shipper(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.log.write_bytes(line(0))
    other = Checkpoint(node.state)
    assert other.lock()

    with meanwhile(stop_process):
        code, error = node.ship()
    other.unlock()

    assert (code, "stopped before every line" in error) == (1, True)
    assert caplog.text.count("another shipper holds the state directory") == 1
    assert node.shipped() == b""
    assert list(node.state.iterdir()) == []


def test_shipper_starts_when_another_one_has_ended(node: Node) -> None:
    node.log.write_bytes(line(0))
    other = Checkpoint(node.state)
    assert other.lock()

    with meanwhile(other.unlock):
        assert node.ship() == (0, "")

    assert node.shipped() == line(0)


def test_log_deleted_while_another_shipper_runs_is_shipped_by_the_next(node: Node) -> None:
    deleted = node.log.parent.with_name("gone") / "0.log"
    deleted.parent.mkdir()
    deleted.write_bytes(line(0) + line(1))
    node.log.write_bytes(line(2))
    other = Checkpoint(node.state)
    assert other.lock()

    def end() -> None:
        deleted.unlink()
        deleted.parent.rmdir()
        other.unlock()

    with meanwhile(end):
        assert node.ship() == (0, "")

    assert sorted(node.shipped().splitlines()) == sorted((line(0) + line(1) + line(2)).splitlines())


def test_log_deleted_while_the_shipper_loads_is_shipped(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.log.write_bytes(line(0))
    hold = StandbyFiles.hold

    def hold_and_delete(self: StandbyFiles, files: list[DiscoveredFile], now: float) -> None:
        hold(self, files, now)
        node.log.unlink(missing_ok=True)

    monkeypatch.setattr(StandbyFiles, "hold", hold_and_delete)

    assert node.ship() == (0, "")
    assert node.shipped() == line(0)


def test_log_deleted_before_the_shipper_opens_it_is_shipped(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.log.write_bytes(line(0))
    update = ContainerLogs.update

    def delete_and_update(self: ContainerLogs, scan: Scan) -> None:
        node.log.unlink(missing_ok=True)
        update(self, scan)

    monkeypatch.setattr(ContainerLogs, "update", delete_and_update)

    assert node.ship() == (0, "")
    assert node.shipped() == line(0)


def test_archive_that_cannot_be_decompressed_yet_is_not_shipped(node: Node) -> None:
    data = gzip.compress(line(0), mtime=0)
    assert b"\n" not in data
    node.log.with_name("0.log.20260101-000000.gz").write_bytes(data)
    node.log.write_bytes(b"")
    node.state.write_bytes(b"no directory: there is no scratch space")

    with meanwhile(stop_process, 1.0):
        code, error = node.ship()

    assert (code, "stopped before every line" in error) == (1, True)
    assert node.shipped() == b""


def test_interrupt_is_a_stop(node: Node) -> None:
    node.crisp.kafka.unavailable = True

    with meanwhile(lambda: os.kill(os.getpid(), signal.SIGINT)):
        assert node.ship()[0] == 1
