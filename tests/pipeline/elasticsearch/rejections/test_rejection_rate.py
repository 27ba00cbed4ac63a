"""When the rejection rate is too high."""

from pipeline.elasticsearch.rejections.rejection_rate import RejectionRate


def test_rate_is_exceeded_by_most_documents_but_not_by_one_percent() -> None:
    few, many = RejectionRate(), RejectionRate()
    few.add(20000, 200, now=1.0)
    many.add(100, 150, now=1.0)

    assert not few.exceeded
    assert many.exceeded


def test_rate_falls_when_documents_are_created_again() -> None:
    rate = RejectionRate()
    rate.add(10, 500, now=1.0)
    rate.add(10, 0, now=70.0)
    assert rate.exceeded
    rate.add(10, 0, now=131.0)

    assert not rate.exceeded


def test_rate_falls_when_no_documents_arrive() -> None:
    rate = RejectionRate()
    rate.add(0, 200, 1.0)
    for now in range(2, 125, 5):
        rate.add(0, 0, float(now))

    assert not rate.exceeded
