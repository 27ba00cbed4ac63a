"""The shipper's memory: whatever befalls its file, never a crash, never a jump to the end, never a lost line."""

import hashlib
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.state.checkpoint import VERSION, Checkpoint, Entry, State, decode, encode
from pipeline.contract.pod_metadata import Instance
from tests import smalldisk

WHO = Instance("shop", "pay-1", "u-1", "pay", 2)


def entry(low: int = 10) -> Entry:
    return Entry("A" * 16, low, [(20, 30)], 1, 2, False, WHO, "/x/2.log", 40, 7, lost_reason="disk bound")  # noqa: FBT003


STATE = State([entry()], {WHO[:4]: 2})
numbers = st.integers(0, 1 << 62)
entries = st.builds(
    Entry,
    identity=st.text("abc", min_size=1),
    low=numbers,
    above=st.lists(st.tuples(numbers, numbers)),
    device=numbers,
    inode=numbers,
    done=st.booleans(),
    instance=st.just(WHO),
    path=st.text(),
    size=st.none() | numbers,
    modified=numbers,
    random_identity=st.booleans(),
    lost_reason=st.text(),
)


@given(st.lists(entries), st.dictionaries(st.just(WHO[:4]), st.integers(0, 99)))
def test_what_is_stored_comes_back(files: list[Entry], newest: dict[tuple[str, str, str, str], int]) -> None:
    assert decode(encode(State(files, newest))) == State(files, newest)


def test_a_checkpoint_cut_anywhere_or_changed_anywhere_is_refused() -> None:
    whole = encode(STATE)
    for length in range(len(whole) - 1):
        with pytest.raises(ValueError, match=r"first line|checksum"):
            decode(whole[:length])
    for place in range(len(whole) - 1):
        with pytest.raises(ValueError, match=r"first line|checksum|version"):
            decode(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(ValueError, match="first line"):
        decode(bytes(len(whole)))
    with pytest.raises(ValueError, match="version is 99, known here is"):
        decode(b'{"crisp_checkpoint":99,"blake2b":""}\n[]\n')


def sealed(body: bytes, version: int = VERSION) -> bytes:
    """A checkpoint whose checksum is right."""
    checksum = hashlib.blake2b(body, digest_size=16).hexdigest()
    return b'{"crisp_checkpoint":%d,"blake2b":"%b"}\n%b\n' % (version, checksum.encode(), body)


STRANGE = [
    *(b"", b"[]", b"{}", b"5", b'{"files":5,"containers":[]}', b'{"files":[[]],"containers":[]}', b'{"files":[]}'),
    *(b'{"files":[],"containers":[["a"]]}', b'{"files":[["a",1,[1],2,3,false,[],"p",1,2]],"containers":[]}'),
]


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"\0" * 500, b'{"crisp_checkpoint":99,"blake2b":""}\n[]\n'),
        *(sealed(b'{"files":[],"containers":[]}', version) for version in (0, 1, VERSION + 1)),
        *map(sealed, STRANGE),
    ],
)
def test_a_refused_copy_is_put_aside_and_the_one_before_it_taken(tmp_path: Path, damage: bytes) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.store(STATE)
    checkpoint.store(State([entry(11)]))
    checkpoint.path.write_bytes(damage)

    assert Checkpoint(tmp_path).load() == STATE
    assert [path.read_bytes() for path in tmp_path.glob("*.refused")] == [damage]
    assert Checkpoint(tmp_path).load() == STATE


def test_without_a_copy_that_can_be_read_there_is_no_memory(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path).load() is None
    Checkpoint(tmp_path).path.write_bytes(b"\0")
    assert Checkpoint(tmp_path).load() is None


def test_a_full_disk_leaves_the_copy_that_is_there(tmp_path: Path) -> None:
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
    """A file system of its own, of 64 KiB."""
    with smalldisk.mounted(tmp_path / "disk", kib=64) as place:
        yield place


def test_a_file_system_without_room_leaves_the_copy_that_is_there(small_disk: Path) -> None:
    checkpoint = Checkpoint(small_disk / "state")
    checkpoint.lock(lambda: pytest.fail("nobody else is there"))
    checkpoint.store(STATE)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 20))
    with pytest.raises(OSError, match="No space left"):
        checkpoint.store(State([entry(number) for number in range(50)]))
    again = Checkpoint(small_disk / "state")
    assert again.load() == STATE
    filler.unlink()
    checkpoint.store(State([entry(12)]))
    assert again.load() == State([entry(12)])


def test_a_read_only_disk_is_told_and_not_fatal(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    (small_disk / "state").mkdir()
    Checkpoint(small_disk / "state").store(STATE)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    checkpoint, absent = Checkpoint(small_disk / "state"), Checkpoint(small_disk / "absent")

    checkpoint.lock(lambda: pytest.fail("nobody else is there"))
    absent.lock(lambda: pytest.fail("nobody else is there"))

    assert checkpoint.load() == STATE
    assert absent.load() is None
    for each in (checkpoint, absent):
        with pytest.raises(OSError, match=r"Read-only|No such file"):
            each.store(State())
    assert checkpoint.load() == STATE
    assert "the state directory cannot be used" in caplog.text


def test_a_kill_at_any_moment_leaves_a_copy_that_can_be_read(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from agents.state.checkpoint import *\n"
        "from pipeline.contract.pod_metadata import Instance\n"
        "c = Checkpoint(Path(sys.argv[1])); n = 0\n"
        "who = Instance('shop', 'pay-1', 'u-1', 'pay', 2)\n"
        "while True:\n"
        "    n += 1\n"
        "    c.store(State([Entry(str(i), n, [], 0, 0, False, who, '', n, 0) for i in range(200)]))\n"
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
        assert {one.low for one in state.entries} <= {reached - 1, reached, reached + 1}
        assert not list(tmp_path.glob("*.refused"))


def test_a_second_shipper_waits_for_the_first(tmp_path: Path) -> None:
    first, second = Checkpoint(tmp_path), Checkpoint(tmp_path)
    first.lock(lambda: pytest.fail("nobody else is there"))
    waiting, locked = threading.Event(), threading.Event()

    def wait() -> None:
        second.lock(waiting.set)
        locked.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert waiting.wait(5)
    assert not locked.wait(0.2)
    os.close(first._lock)
    assert locked.wait(5)
    thread.join()
