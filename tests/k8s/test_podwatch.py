"""The pods of a node as the shipper knows them, whatever happens to a real API server, and to the way there."""

import base64
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.kubernetes import pod_api
from agents.kubernetes.pod_api import PodApi
from tests.integration.flow import eventually
from tests.k8s.apiserver import ApiServer
from tests.k8s.link import Link
from tests.k8s.pods import Start, is_deleted, label, make_pod, relabel_pod, remove_pod

pytestmark = [pytest.mark.k8s, pytest.mark.short]


def test_changes_of_pods_of_this_node_are_observed(api: ApiServer, watching: Start) -> None:
    early = make_pod(api, "early", labels={"app": "early"})
    elsewhere = make_pod(api, "elsewhere", node="node-2")
    watch = watching()
    eventually(lambda: label(watch, early) == "early", 10)

    late = make_pod(api, "late", labels={"app": "late"})
    eventually(lambda: label(watch, late) == "late", 5)
    relabel_pod(api, "late", app="moved")
    eventually(lambda: label(watch, late) == "moved", 5)
    remove_pod(api, "late")
    eventually(lambda: is_deleted(watch, late), 5)

    assert label(watch, late) == "moved", "a deleted pod keeps its labels"
    assert label(watch, elsewhere) is None
    assert (watch.problem, is_deleted(watch, early)) == ("", False)
    remove_pod(api, "early")
    remove_pod(api, "elsewhere")


def test_pod_of_the_same_name_is_distinguished_by_its_uid(api: ApiServer, watching: Start) -> None:
    watch = watching()
    first = make_pod(api, "db-0", labels={"app": "old"})
    eventually(lambda: label(watch, first) == "old", 10)  # else it may be gone before the watch's first list
    remove_pod(api, "db-0")
    second = make_pod(api, "db-0", labels={"app": "new"})

    eventually(lambda: (label(watch, first), label(watch, second)) == ("old", "new"), 10)
    remove_pod(api, "db-0")


def test_static_pod_is_found_by_the_uid_of_its_file(api: ApiServer, watching: Start) -> None:
    hashed = "0123456789abcdef0123456789abcdef"
    marks = {"kubernetes.io/config.hash": hashed, "kubernetes.io/config.mirror": hashed}
    make_pod(api, "static", labels={"app": "static"}, annotations=marks)
    watch = watching()

    eventually(lambda: label(watch, hashed) == "static", 10)
    remove_pod(api, "static")


def test_list_of_several_pages_is_complete(api: ApiServer, watching: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.kubernetes.pod_watch.LIST_LIMIT", 2)
    uids = [make_pod(api, f"page-{number}", labels={"app": "page"}) for number in range(7)]
    watch = watching()

    eventually(lambda: all(label(watch, uid) == "page" for uid in uids), 10)
    for number in range(7):
        remove_pod(api, f"page-{number}")


def compact(api: ApiServer, name: str) -> None:
    """Delete a pod so that no history tells of it any more."""
    key = base64.b64encode(f"/registry/pods/shop/{name}".encode()).decode()
    revision = api.etcd("kv/deleterange", {"key": key})["header"]["revision"]
    api.etcd("kv/compaction", {"revision": revision})


def test_expired_resource_version_causes_a_new_list(
    api: ApiServer, watching: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The server dies, etcd is compacted: watching on from where it stood is answered by 410 Gone."""
    lost = make_pod(api, "lost", labels={"app": "lost"})
    watch = watching()
    eventually(lambda: label(watch, lost) == "lost", 10)
    versions: list[str] = []
    taken = watch._watch

    def record_version(api: PodApi, version: str, listed: str) -> Any:
        versions.append(version)
        return taken(api, version, listed)

    watch._watch = record_version  # type: ignore[method-assign]

    api.server.kill()
    compact(api, "lost")
    eventually(lambda: watch.problem != "", 10)
    api.start_server()

    eventually(lambda: is_deleted(watch, lost), 40)
    assert watch.problem == ""
    assert len(set(versions)) > 1, "it was listed anew"


def test_watch_starts_when_the_api_becomes_available(api: ApiServer, watching: Start) -> None:
    uid = make_pod(api, "waited", labels={"app": "waited"})
    api.server.kill()
    watch = watching()
    eventually(lambda: "refused" in watch.problem, 10)
    api.start_server()

    began = time.monotonic()
    while label(watch, uid) is None and time.monotonic() - began < 20:
        watch.restart_if_silent()  # as the shipper does, of which a file waits
        time.sleep(0.1)
    assert (label(watch, uid), watch.problem) == ("waited", "")
    assert time.monotonic() - began < 8, "whoever waits does not wait for the pause between tries"
    remove_pod(api, "waited")


def test_silent_watch_is_restarted_while_metadata_is_awaited(api: ApiServer, watching: Start) -> None:
    link = Link(api.port)
    watch = watching(api.kubeconfig("through-link", port=link.port))
    eventually(lambda: watch.problem == "", 10)
    link.freeze()
    uid = make_pod(api, "unheard", labels={"app": "unheard"})
    time.sleep(1)
    assert label(watch, uid) is None

    began = time.monotonic()
    while label(watch, uid) is None and time.monotonic() - began < 20:
        watch.restart_if_silent()
        time.sleep(0.1)
    assert time.monotonic() - began < 8
    assert watch.problem == "", "a doubt is no trouble"
    link.close()
    remove_pod(api, "unheard")


def test_silent_watch_becomes_a_problem(api: ApiServer, watching: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_api, "WATCH_READ_TIMEOUT_SECONDS", 2.0)
    link = Link(api.port)
    watch = watching(api.kubeconfig("through-link", port=link.port))
    eventually(lambda: watch.problem == "", 10)
    link.freeze()
    uid = make_pod(api, "unasked", labels={"app": "unasked"})

    eventually(lambda: label(watch, uid) == "unasked", 10)
    link.close()
    remove_pod(api, "unasked")


@pytest.mark.parametrize("stored", [b"", b"\0" * 100, b'{"u":', b"5", b'{"u":3}', b"[]"])
def test_invalid_stored_pods_are_requested_again(
    api: ApiServer, watching: Start, tmp_path: Path, stored: bytes
) -> None:
    (tmp_path / "pods.json").write_bytes(stored)
    uid = make_pod(api, "again", labels={"app": "again"})
    watch = watching()

    eventually(lambda: label(watch, uid) == "again", 10)
    watch.store({uid})
    assert orjson.loads((tmp_path / "pods.json").read_bytes())[uid]["metadata"]["labels"] == {"app": "again"}
    remove_pod(api, "again")
