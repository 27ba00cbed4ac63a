"""The times of the last increases of counters."""

import functools

from pipeline.monitoring.measurements.last_increase import LastIncrease


def test_last_increase_has_the_time_of_the_increase() -> None:
    counts = {"gaps": 0.0, "dead_letters": 2.0}
    increases = LastIncrease({name: functools.partial(counts.__getitem__, name) for name in counts})
    increases.update(10.0)
    counts["gaps"] = 1.0
    increases.update(15.0)
    increases.update(20.0)

    assert increases.snapshot() == {"gaps": 15.0, "dead_letters": 10.0}
