"""Pod metadata from a real Kubernetes API server, up to the documents in Elasticsearch."""

import random
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually
from tests.k8s.apiserver import ApiServer
from tests.k8s.pods import bind_pod, make_pod, relabel_pod, remove_pod
from tests.support.http import get

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800)]


def write(flow: Flow, pod: str, uid: str, text: str, stream: str = "stdout") -> None:
    directory = flow.logs / f"shop_{pod}_{uid}" / "app"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "0.log").open("a") as file:
        file.write(f"{timestamp.format_utc(time.time_ns())} {stream} F {text}\n")


@pytest.fixture
def labelled(stack: Stack, api: ApiServer, tmp_path: Path) -> Iterator[Flow]:
    (port,) = free_ports(1)
    flow = Flow(
        stack,
        tmp_path,
        CRISP_KUBECONFIG=str(api.kubeconfig()),
        CRISP_METADATA_WAIT_SECONDS="4",
        CRISP_SHIP_PORT=str(port),
        CRISP_STATUS_HOST="127.0.0.1",
    )
    flow.set_up()
    flow.worker.start()
    yield flow
    flow.stop()


def source(flow: Flow, message: str) -> dict[str, Any]:
    """The one document of a message."""
    eventually(lambda: message in flow.messages())
    (found,) = [hit["_source"] for hit in flow.documents() if hit["_source"]["message"] == message]
    return dict(found)


def test_document_has_labels_workload_and_image(labelled: Flow, api: ApiServer) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "pay-6f", "uid": "u", "controller": True}
    labels = {"app": "payment", "app.kubernetes.io/version": "7", "pod-template-hash": "6f"}
    uid = make_pod(api, "pay-6f-a", labels, ownerReferences=[owner])
    write(labelled, "pay-6f-a", uid, "labelled")
    labelled.shipper.start()

    found = source(labelled, "labelled")
    assert found["kubernetes.labels"] == labels
    assert (found["service.name"], found["service.version"]) == ("payment", "7")
    assert found["kubernetes.deployment.name"] == "pay"
    assert (found["container.image.name"], found["container.image.tag"]) == ("shop/app", ["1.2"])
    remove_pod(api, "pay-6f-a")


def test_logs_wait_for_the_metadata_of_a_new_pod(labelled: Flow, api: ApiServer) -> None:
    labelled.shipper.start()
    port = labelled.settings.ship_port
    eventually(lambda: '"pod_metadata_problem":""' in get(port, "/status.json")[1])
    uid = make_pod(api, "late", {"app": "late"})
    write(labelled, "late", uid, "lived half a second")
    remove_pod(api, "late")

    assert source(labelled, "lived half a second")["service.name"] == "late"


def test_pod_deleted_during_downtime_keeps_its_labels(labelled: Flow, api: ApiServer) -> None:
    uid = make_pod(api, "gone", {"app": "gone"})
    write(labelled, "gone", uid, "before")
    labelled.shipper.start()
    source(labelled, "before")
    time.sleep(2)
    labelled.shipper.kill()
    remove_pod(api, "gone")
    write(labelled, "gone", uid, "after")
    labelled.shipper.start()

    assert source(labelled, "after")["service.name"] == "gone"


def test_unknown_pod_is_shipped_with_metadata_of_its_path(labelled: Flow) -> None:
    write(labelled, "unknown", "00000000-0000-0000-0000-000000000009", "unlabelled")
    labelled.shipper.start()

    found = source(labelled, "unlabelled")
    assert (found["kubernetes.pod.name"], found["service.name"]) == ("unknown", "app")
    assert "kubernetes.labels" not in found


def test_annotations_exclude_a_pod_and_select_its_grouping(labelled: Flow, api: ApiServer) -> None:
    hidden = make_pod(api, "hidden", {}, annotations={"logs.crisp/exclude": "true"})
    plain = make_pod(api, "plain", {}, annotations={"logs.crisp/multiline": "off"})
    write(labelled, "hidden", hidden, "secret")
    for text in ("java.lang.Error: x", "\tat a.B.c(B.java:1)", "end"):
        write(labelled, "plain", plain, text)
    labelled.shipper.start()
    source(labelled, "end")
    time.sleep(6)

    assert sorted(labelled.messages()) == ["\tat a.B.c(B.java:1)", "end", "java.lang.Error: x"]


def test_annotations_select_the_parser_and_exclude_a_stream(labelled: Flow, api: ApiServer) -> None:
    asked = {"fluentbit.io/parser": "json", "logs.crisp/exclude_stderr-app": "true"}
    uid = make_pod(api, "chooses", {}, annotations=asked)
    write(labelled, "chooses", uid, "level=error msg=text")
    write(labelled, "chooses", uid, "left out", stream="stderr")
    write(labelled, "chooses", uid, '{"message":"body","level":"warn"}')
    labelled.shipper.start()

    assert source(labelled, "body")["log.level"] == "warn"
    assert "log.level" not in source(labelled, "level=error msg=text")
    assert "left out" not in labelled.messages()
    remove_pod(api, "chooses")


LINES = 20


@pytest.mark.short
def test_logs_of_a_hundred_short_lived_pods_with_late_metadata_are_complete(labelled: Flow, api: ApiServer) -> None:
    """Up to five seconds after the first line: then pod, and often its log too, are gone."""
    worker = labelled.worker
    labelled.configure(CRISP_METADATA_WAIT_SECONDS="10")
    labelled.worker = worker
    labelled.shipper.start()
    eventually(lambda: '"pod_metadata_problem":""' in get(labelled.settings.ship_port, "/status.json")[1])
    chance = random.Random(7)

    def live(number: int, late: float) -> float:
        """Returns how long after its first line the API told of it."""
        name = f"short-{number}"
        uid = make_pod(api, name, {"app": name}, node="")
        began = time.monotonic()
        for line in range(LINES):
            write(labelled, name, uid, f"{name} line {line}")
            time.sleep(max(0.0, began + 2.0 * (line + 1) / LINES - time.monotonic()))
        shutil.rmtree(labelled.logs / f"shop_{name}_{uid}")
        time.sleep(max(0.0, began + late - time.monotonic()))
        bind_pod(api, name)
        told = time.monotonic() - began
        remove_pod(api, name)
        return told

    with ThreadPoolExecutor(100) as pods:
        begun = [pods.submit(live, number, chance.uniform(0.0, 5.0)) for number in range(100)]
        late = {f"short-{number}": ended.result() for number, ended in enumerate(begun)}

    expected = sorted(f"short-{number} line {line}" for number in range(100) for line in range(LINES))
    eventually(lambda: labelled.count() >= len(expected), 60)
    found = [hit["_source"] for hit in labelled.documents()]
    assert sorted(one["message"] for one in found) == expected
    in_time = {name for name, seconds in late.items() if seconds < 8.0}  # a slow machine is later than it wants to be
    bare = {one["kubernetes.pod.name"] for one in found if one["service.name"] != one["kubernetes.pod.name"]}
    flagged = {one["kubernetes.pod.name"] for one in found if "crisp.metadata_missing" in one}
    assert (in_time & bare, in_time & flagged) == (set(), set()), late
    assert len(in_time) > 50, late


def test_shipper_starts_without_the_api(labelled: Flow, api: ApiServer) -> None:
    uid = make_pod(api, "before", {"app": "before"})
    api.server.kill()
    write(labelled, "before", uid, "without labels")
    labelled.shipper.start()
    without = source(labelled, "without labels")
    api.start_server()
    write(labelled, "before", uid, "with labels")

    def known() -> bool:
        write(labelled, "before", uid, f"again {time.monotonic()}")
        time.sleep(1)
        return any(hit["_source"]["service.name"] == "before" for hit in labelled.documents())

    assert (without["service.name"], without["crisp.metadata_missing"]) == ("app", True)
    eventually(known, 60)
    remove_pod(api, "before")


def test_relabelled_pod_is_seen_after_a_restart_of_the_api(labelled: Flow, api: ApiServer) -> None:
    uid = make_pod(api, "moved", {"app": "old"})
    write(labelled, "moved", uid, "first")
    labelled.shipper.start()
    assert source(labelled, "first")["service.name"] == "old"
    api.server.kill()
    write(labelled, "moved", uid, "meanwhile")
    assert source(labelled, "meanwhile")["service.name"] == "old"
    api.start_server()
    relabel_pod(api, "moved", app="new")

    def relabelled() -> bool:
        write(labelled, "moved", uid, f"again {time.monotonic()}")
        time.sleep(2)
        return any(hit["_source"]["service.name"] == "new" for hit in labelled.documents())

    eventually(relabelled, seconds=60)
