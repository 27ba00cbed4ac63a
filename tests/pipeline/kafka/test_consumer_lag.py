"""How much of the retention a lag has used: by time, by size, whichever is nearer."""

import pytest

from pipeline.config.settings import KafkaSettings
from pipeline.kafka.consumer_lag import Lag, retention_use

SETTINGS = KafkaSettings(topic_retention_seconds=1000.0, topic_retention_bytes=10_000)


@pytest.mark.parametrize(
    ("lag", "size", "ratio", "limit"),
    [
        pytest.param(Lag(100, 100, 0, 0.0), 0, 0.0, "time", id="no lag"),
        pytest.param(Lag(100, 110, 0, 600.0), 1000, 0.6, "time", id="old records"),
        pytest.param(Lag(100, 170, 0, 60.0), 7000, 0.7, "size", id="many bytes, nothing deleted yet"),
        pytest.param(Lag(960, 1030, 30, 60.0), 7000, 0.07, "size", id="many bytes, but ten times as many are kept"),
        pytest.param(Lag(100, 170, 90, 60.0), 7000, 0.7, "size", id="most of what is kept is not consumed"),
        pytest.param(Lag(100, 170, 100, 60.0), 90_000, 1.0, "size", id="all that is kept is not consumed"),
        pytest.param(Lag(100, 102, 100, 1.0), 2, 0.001, "time", id="few records after a quiet time"),
        pytest.param(Lag(100, 110, 0, None), 1000, 0.1, "size", id="age unknown"),
    ],
)
def test_retention_is_used_by_time_or_by_size(lag: Lag, size: float, ratio: float, limit: str) -> None:
    use = retention_use(lag, size, SETTINGS)

    assert use.ratio == pytest.approx(ratio)
    assert use.limit == limit


def test_without_retention_by_size_an_unknown_age_is_unknown() -> None:
    settings = KafkaSettings(topic_retention_seconds=1000.0)

    assert retention_use(Lag(100, 110, 0, None), 1e9, settings) == (None, "time")
    assert retention_use(Lag(100, 110, 0, 5.0), 1e9, settings) == (0.005, "time")
