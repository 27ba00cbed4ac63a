"""Checkpoint: damage to its file never causes a crash, a jump to the end of a log, or a lost line."""

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.state.checkpoint import VERSION, Checkpoint, Entry, State, decode, encode
from pipeline.contract.pod_metadata import Instance
from pipeline.errors import StateError
from tests.support import smalldisk

INSTANCE = Instance("shop", "pay-1", "u-1", "pay", 2)


def entry(low: int = 10) -> Entry:
    return Entry("A" * 16, low, [(20, 30)], 1, 2, False, INSTANCE, "/x/2.log", 40, 7, lost_reason="disk bound")  # noqa: FBT003


STATE = State([entry()], {INSTANCE[:4]: 2})
numbers = st.integers(0, 1 << 62)
entries = st.builds(
    Entry,
    identity=st.text("abc", min_size=1),
    low=numbers,
    above=st.lists(st.tuples(numbers, numbers)),
    device=numbers,
    inode=numbers,
    done=st.booleans(),
    instance=st.just(INSTANCE),
    path=st.text(),
    size=st.none() | numbers,
    modified=numbers,
    random_identity=st.booleans(),
    lost_reason=st.text(),
)


@given(st.lists(entries), st.dictionaries(st.just(INSTANCE[:4]), st.integers(0, 99)))
def test_checkpoint_round_trip_preserves_state(
    files: list[Entry], newest: dict[tuple[str, str, str, str], int]
) -> None:
    assert decode(encode(State(files, newest))) == State(files, newest)


def test_truncated_or_modified_checkpoint_is_rejected() -> None:
    whole = encode(STATE)
    for length in range(len(whole) - 1):
        with pytest.raises(ValueError, match=r"first line|checksum"):
            decode(whole[:length])
    for position in range(len(whole) - 1):
        with pytest.raises(ValueError, match=r"first line|checksum|version"):
            decode(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
    with pytest.raises(ValueError, match="first line"):
        decode(bytes(len(whole)))
    with pytest.raises(ValueError, match="version is 99, supported is"):
        decode(b'{"crisp_checkpoint":99,"blake2b":""}\n[]\n')


def with_checksum(body: bytes, version: int = VERSION) -> bytes:
    """A checkpoint with a valid checksum."""
    checksum = hashlib.blake2b(body, digest_size=16).hexdigest()
    return b'{"crisp_checkpoint":%d,"blake2b":"%b"}\n%b\n' % (version, checksum.encode(), body)


MALFORMED = [
    *(b"", b"[]", b"{}", b"5", b'{"files":5,"containers":[]}', b'{"files":[[]],"containers":[]}', b'{"files":[]}'),
    *(b'{"files":[],"containers":[["a"]]}', b'{"files":[["a",1,[1],2,3,false,[],"p",1,2]],"containers":[]}'),
]


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"\0" * 500, b'{"crisp_checkpoint":99,"blake2b":""}\n[]\n'),
        *(with_checksum(b'{"files":[],"containers":[]}', version) for version in (0, 1, VERSION + 1)),
        *map(with_checksum, MALFORMED),
    ],
)
def test_unreadable_checkpoint_is_renamed_and_previous_copy_is_loaded(tmp_path: Path, damage: bytes) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.store(STATE)
    checkpoint.store(State([entry(11)]))
    checkpoint.path.write_bytes(damage)

    assert Checkpoint(tmp_path).load() == STATE
    assert [path.read_bytes() for path in tmp_path.glob("*.refused")] == [damage]
    assert Checkpoint(tmp_path).load() == STATE


def test_no_state_is_loaded_without_a_readable_copy(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path).load() is None
    Checkpoint(tmp_path).path.write_bytes(b"\0")
    assert Checkpoint(tmp_path).load() is None


def test_failed_write_keeps_the_existing_copy(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.store(STATE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # Python ignores SIGXFSZ: a write fails as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoint.store(State([entry(number) for number in range(50)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Checkpoint(tmp_path).load() == STATE
    checkpoint.store(State([entry(12)]))
    assert Checkpoint(tmp_path).load() == State([entry(12)])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of 64 KiB."""
    with smalldisk.mounted(tmp_path / "disk", kib=64) as directory:
        yield directory


def test_full_file_system_keeps_the_existing_copy(small_disk: Path) -> None:
    checkpoint = Checkpoint(small_disk / "state")
    assert checkpoint.lock()
    checkpoint.store(STATE)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 20))
    with pytest.raises(OSError, match="No space left"):
        checkpoint.store(State([entry(number) for number in range(50)]))
    reopened = Checkpoint(small_disk / "state")
    assert reopened.load() == STATE
    filler.unlink()
    checkpoint.store(State([entry(12)]))
    assert reopened.load() == State([entry(12)])


def test_read_only_disk_is_logged_and_not_fatal(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    (small_disk / "state").mkdir()
    Checkpoint(small_disk / "state").store(STATE)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    checkpoint, absent = Checkpoint(small_disk / "state"), Checkpoint(small_disk / "absent")

    assert checkpoint.lock()
    assert absent.lock()

    assert checkpoint.load() == STATE
    assert absent.load() is None
    for each in (checkpoint, absent):
        with pytest.raises(OSError, match=r"Read-only|No such file"):
            each.store(State())
    assert checkpoint.load() == STATE
    assert "the state directory cannot be used" in caplog.text


def test_kill_at_any_moment_leaves_a_readable_copy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from agents.state.checkpoint import *\n"
        "from pipeline.contract.pod_metadata import Instance\n"
        "c = Checkpoint(Path(sys.argv[1])); n = 0\n"
        "instance = Instance('shop', 'pay-1', 'u-1', 'pay', 2)\n"
        "while True:\n"
        "    n += 1\n"
        "    c.store(State([Entry(str(i), n, [], 0, 0, False, instance, '', n, 0) for i in range(200)]))\n"
        "    print(n, flush=True)\n"
    )
    reached = 0
    for number in range(5):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child.stdout as lines:
            lines.readline()
            time.sleep(0.02 * number)
            child.kill()
            reached = int((lines.read().split() or ["1"])[-1])
        child.wait()
        state = Checkpoint(tmp_path).load()
        assert state is not None
        assert {entry.low for entry in state.entries} <= {reached - 1, reached, reached + 1}
        assert not list(tmp_path.glob("*.refused"))


def test_only_one_shipper_at_a_time_locks_the_directory(tmp_path: Path) -> None:
    first, second = Checkpoint(tmp_path), Checkpoint(tmp_path)

    assert first.lock()
    assert not second.lock()
    first.unlock()
    first.unlock()
    assert second.lock()
    assert not first.lock()
    second.unlock()


def test_failed_locks_leak_no_descriptors(tmp_path: Path) -> None:
    first, second = Checkpoint(tmp_path), Checkpoint(tmp_path)
    assert first.lock()
    before = len(os.listdir("/proc/self/fd"))

    assert not any(second.lock() for _ in range(20))

    assert len(os.listdir("/proc/self/fd")) == before
    first.unlock()


@pytest.mark.parametrize("change", ["removed", "renamed", "made again", "replaced by a file"])
def test_removed_state_directory_is_made_and_locked_again(tmp_path: Path, change: str) -> None:
    directory = tmp_path / "node" / "state"
    first, second = Checkpoint(directory), Checkpoint(directory)
    assert first.lock()
    first.store(STATE)
    if change == "renamed":
        directory.rename(tmp_path / "away")
    else:
        shutil.rmtree(directory.parent)
    if change == "made again":
        directory.mkdir(parents=True)
    if change == "replaced by a file":
        directory.parent.mkdir()
        directory.touch()
        with pytest.raises(OSError, match="Not a directory"):
            first.store(STATE)
        directory.unlink()

    first.store(STATE)

    assert first.load() == STATE
    assert not second.lock()
    first.unlock()
    assert second.lock()
    second.unlock()


def test_shipper_whose_state_directory_another_one_locked_writes_nothing_more(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    first, second = Checkpoint(directory), Checkpoint(directory)
    assert first.lock()
    first.store(STATE)
    shutil.rmtree(directory)
    assert second.lock()

    for _ in range(2):
        with pytest.raises(StateError, match="another shipper uses it"):
            first.store(STATE)
    assert second.load() is None
    second.store(State([entry(12)]))
    assert second.load() == State([entry(12)])
    second.unlock()
