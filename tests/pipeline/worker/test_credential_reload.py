"""Changed secrets are detected, whenever they change."""

from pathlib import Path

from pipeline.config.environment import load_settings
from pipeline.worker.worker import Worker


def test_secret_changed_before_the_worker_runs_is_detected(tmp_path: Path) -> None:
    """A worker may wait for Kafka for hours before its first poll."""
    password = tmp_path / "password"
    password.write_text("first")
    worker = Worker(load_settings({"ES_USER": "crisp", "ES_PASSWORD_FILE": str(password)}))
    password.write_text("second")

    assert worker.secret_watcher.poll() == ["ES_PASSWORD_FILE"]
    assert worker.secret_watcher.poll() == []
