"""A secret that changes is noticed, whenever it changes."""

from pathlib import Path

from pipeline.config import settings
from pipeline.worker.worker import Worker


def test_a_secret_that_changes_before_the_worker_runs_is_noticed(tmp_path: Path) -> None:
    """It may wait for Kafka for hours before it first looks."""
    password = tmp_path / "password"
    password.write_text("first")
    worker = Worker(settings.load({"ES_USER": "crisp", "ES_PASSWORD_FILE": str(password)}))
    password.write_text("second")

    assert worker.secret_watcher.poll() == ["ES_PASSWORD_FILE"]
    assert worker.secret_watcher.poll() == []
