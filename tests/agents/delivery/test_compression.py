"""aiokafka's batches are compressed at the level that we ask for."""

import random

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from agents.delivery import compression
from tests.benchmarks import lines

CODES = {"gzip": 1, "lz4": 3, "zstd": 4}
TEXT = "\n".join(lines.ecs(random.Random(number), 10**18 + number) for number in range(200)).encode()


def _batch(codec: str) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=CODES[codec],
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    builder.append(0, timestamp=0, key=b"k", value=TEXT, headers=[])
    return bytes(builder.build())


@pytest.mark.parametrize("codec", CODES)
def test_the_level_reaches_the_batches(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for encode in compression.CODECS.values():
        monkeypatch.setattr(encode, "__defaults__", encode.__defaults__)  # so that it is put back
    default = _batch(codec)
    compression.use_fast_levels()
    light = _batch(codec)
    assert light != default
    assert len(light) < len(TEXT) / 2


def test_zstd_loses_next_to_nothing_by_it() -> None:
    light, default = (len(bytes(cramjam.zstd.compress(TEXT, level=level))) for level in (compression.LEVEL, 3))
    assert light < default * 1.1
