"""aiokafka compresses batches at the configured level."""

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
def test_fast_level_applies_to_batches(codec: str) -> None:
    default = _batch(codec)
    compression.use_fast_levels()
    fast = _batch(codec)
    assert fast != default
    assert len(fast) < len(TEXT) / 2


def test_zstd_fast_level_compresses_nearly_as_well_as_default() -> None:
    fast, default = (len(bytes(cramjam.zstd.compress(TEXT, level=level))) for level in (compression.LEVEL, 3))
    assert fast < default * 1.1
