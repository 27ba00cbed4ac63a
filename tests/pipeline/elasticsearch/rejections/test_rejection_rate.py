"""When refusals are a flood."""

from pipeline.elasticsearch.rejections.rejection_rate import RejectionRate


def test_one_percent_of_refusals_is_no_flood_and_most_is() -> None:
    few, many = RejectionRate(), RejectionRate()
    few.add(20000, 200, now=1.0)
    many.add(100, 150, now=1.0)

    assert not few.exceeded
    assert many.exceeded


def test_a_flood_ends_when_nothing_more_is_refused() -> None:
    flood = RejectionRate()
    flood.add(10, 500, now=1.0)
    flood.add(10, 0, now=70.0)
    assert flood.exceeded
    flood.add(10, 0, now=131.0)

    assert not flood.exceeded


def test_a_flood_is_over_also_when_nothing_comes_any_more() -> None:
    flood = RejectionRate()
    flood.add(0, 200, 1.0)
    for now in range(2, 125, 5):
        flood.add(0, 0, float(now))

    assert not flood.exceeded
