"""Elasticsearch, with security enabled, rejects the worker's password under load; a correct one is reloaded."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.secured_stack import SecuredStack
from pipeline.local.stack import Stack
from tests.faults.results import Row
from tests.faults.scene import Scene
from tests.integration.flow import eventually
from tests.integration.secured import SecuredFlow

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

PASSWORD = "very-Secret-7"  # noqa: S105 - of users of this test only
MESSAGE = "check ES_USER and ES_PASSWORD"


@pytest.fixture
def scene(stack: Stack, tmp_path: Path, row: Row) -> Iterator[Scene]:
    """A flow on its own secured servers; the worker has minimal privileges and its password in a file."""
    with tempfile.TemporaryDirectory(prefix="crisp-secured-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        secured = SecuredStack(directory, stack.address.es_version)
        secured.start()
        try:
            flow = SecuredFlow(secured, tmp_path)
            flow.set_up()
            password = tmp_path / "password"
            password.write_text(PASSWORD)
            flow.configure(
                ES_USER=flow.add_user("crisp_worker", PASSWORD), ES_PASSWORD=None, ES_PASSWORD_FILE=str(password)
            )
            scene = Scene(flow, tmp_path, row)
            yield scene
            scene.stop()
        finally:
            secured.stop()


def test_elasticsearch_password_is_wrong_temporarily(scene: Scene) -> None:
    password = Path(scene.flow.environment["ES_PASSWORD_FILE"])
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0, 120)
    password.write_text("wrong-Secret-8")
    scene.write(20)
    scene.wait_for_worker_log(MESSAGE)
    password.write_text(PASSWORD)
    scene.write(8)

    scene.assert_exactly_once()
    log = scene.flow.worker.output.read_text()
    assert scene.flow.worker.poll() is None
    assert 1 <= log.count(MESSAGE) <= 5
    assert PASSWORD not in log
    assert scene.count_dead_letters() == 0
