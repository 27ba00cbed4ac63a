"""The pods of a node as the shipper knows them, whatever happens to a real API server, and to the way there."""

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from agents import podapi
from agents.podwatch import PodWatch
from pipeline.pod import Instance
from pipeline.settings import Settings
from tests.deploy.manifests import DEPLOY
from tests.integration.flow import eventually
from tests.k8s.apiserver import ApiServer, running
from tests.k8s.link import Link

pytestmark = [pytest.mark.k8s, pytest.mark.short]
PODS = "/api/v1/namespaces/shop/pods"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    with running(ApiServer) as server:
        for name in ("shop", "logging"):
            server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        yield server


Start = Callable[..., PodWatch]


@pytest.fixture
def watching(api: ApiServer, tmp_path: Path) -> Iterator[Start]:
    """Starts a watch of node-1; by default as an administrator."""
    started: list[PodWatch] = []

    def start(kubeconfig: Path | None = None) -> PodWatch:
        path = str(kubeconfig or api.kubeconfig())
        started.append(PodWatch(Settings(kubeconfig=path, node_name="node-1", state_dir=str(tmp_path))))
        started[-1].start()
        return started[-1]

    yield start
    for watch in started:
        watch.stop()


def make(api: ApiServer, name: str, node: str = "node-1", **about: Any) -> str:
    """A pod bound to a node; returns its uid."""
    spec = {"nodeName": node, "containers": [{"name": "app", "image": "shop/app:1.2"}]}
    return str(api.ask("POST", PODS, {"metadata": {"name": name, **about}, "spec": spec})["metadata"]["uid"])


def remove(api: ApiServer, name: str) -> None:
    api.ask("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")


def label(watch: PodWatch, uid: str) -> str | None:
    """The label `app` of a pod; None while it is not known."""
    found = watch.of(Instance("shop", "x", uid, "app", 0))
    return None if found is None else str(found["metadata"]["labels"].get("app"))


def is_deleted(watch: PodWatch, uid: str) -> bool:
    return bool((watch.of(Instance("shop", "x", uid, "app", 0)) or {}).get("deleted"))


def test_pods_of_this_node_are_listed_added_relabelled_and_deleted(api: ApiServer, watching: Start) -> None:
    early = make(api, "early", labels={"app": "early"})
    elsewhere = make(api, "elsewhere", node="node-2")
    watch = watching()
    eventually(lambda: label(watch, early) == "early", 10)

    late = make(api, "late", labels={"app": "late"})
    eventually(lambda: label(watch, late) == "late", 5)
    api.ask("PATCH", f"{PODS}/late", {"metadata": {"labels": {"app": "moved"}}}, MERGE)
    eventually(lambda: label(watch, late) == "moved", 5)
    remove(api, "late")
    eventually(lambda: is_deleted(watch, late), 5)

    assert label(watch, late) == "moved", "a deleted pod keeps its labels"
    assert label(watch, elsewhere) is None
    assert (watch.trouble, is_deleted(watch, early)) == ("", False)


def test_a_pod_of_the_same_name_is_another_pod(api: ApiServer, watching: Start) -> None:
    watch = watching()
    first = make(api, "db-0", labels={"app": "old"})
    remove(api, "db-0")
    second = make(api, "db-0", labels={"app": "new"})

    eventually(lambda: (label(watch, first), label(watch, second)) == ("old", "new"), 10)
    remove(api, "db-0")


def test_a_static_pod_is_known_by_the_uid_of_its_file(api: ApiServer, watching: Start) -> None:
    hashed = "0123456789abcdef0123456789abcdef"
    marks = {"kubernetes.io/config.hash": hashed, "kubernetes.io/config.mirror": hashed}
    make(api, "static", labels={"app": "static"}, annotations=marks)
    watch = watching()

    eventually(lambda: label(watch, hashed) == "static", 10)
    remove(api, "static")


def test_more_pods_than_one_page_of_the_list(api: ApiServer, watching: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.podwatch.LIST_LIMIT", 2)
    uids = [make(api, f"page-{number}", labels={"app": "page"}) for number in range(7)]
    watch = watching()

    eventually(lambda: all(label(watch, uid) == "page" for uid in uids), 10)
    for number in range(7):
        remove(api, f"page-{number}")


def compact(api: ApiServer, name: str) -> None:
    """Delete a pod so that no history tells of it any more."""
    key = base64.b64encode(f"/registry/pods/shop/{name}".encode()).decode()
    revision = api.etcd("kv/deleterange", {"key": key})["header"]["revision"]
    api.etcd("kv/compaction", {"revision": revision})


def test_what_was_missed_while_the_history_was_cut_is_listed(
    api: ApiServer, watching: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The server dies, etcd is compacted: watching on from where it stood is answered by 410 Gone."""
    lost = make(api, "lost", labels={"app": "lost"})
    watch = watching()
    eventually(lambda: label(watch, lost) == "lost", 10)
    versions: list[str] = []
    taken = watch._watch
    watch._watch = lambda api, version: (versions.append(version), taken(api, version))[1]  # type: ignore[method-assign]

    api.server.kill()
    compact(api, "lost")
    eventually(lambda: watch.trouble != "", 10)
    api.start_server()

    eventually(lambda: is_deleted(watch, lost), 40)
    assert watch.trouble == ""
    assert len(set(versions)) > 1, "it was listed anew"


def test_an_api_that_is_away_at_the_start_is_waited_for(api: ApiServer, watching: Start) -> None:
    uid = make(api, "waited", labels={"app": "waited"})
    api.server.kill()
    watch = watching()
    eventually(lambda: "refused" in watch.trouble, 10)
    api.start_server()

    began = time.monotonic()
    while label(watch, uid) is None and time.monotonic() - began < 20:
        watch.doubt()  # as the shipper does, of which a file waits
        time.sleep(0.1)
    assert (label(watch, uid), watch.trouble) == ("waited", "")
    assert time.monotonic() - began < 8, "whoever waits does not wait for the pause between tries"
    remove(api, "waited")


def test_a_watch_that_hangs_is_begun_anew_when_somebody_waits(api: ApiServer, watching: Start) -> None:
    link = Link(api.port)
    watch = watching(api.kubeconfig("through-link", port=link.port))
    eventually(lambda: watch.trouble == "", 10)
    link.freeze()
    uid = make(api, "unheard", labels={"app": "unheard"})
    time.sleep(1)
    assert label(watch, uid) is None

    began = time.monotonic()
    while label(watch, uid) is None and time.monotonic() - began < 20:
        watch.doubt()
        time.sleep(0.1)
    assert time.monotonic() - began < 8
    assert watch.trouble == "", "a doubt is no trouble"
    link.close()
    remove(api, "unheard")


def test_a_watch_that_hangs_is_dead_after_a_while(
    api: ApiServer, watching: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podapi, "HANG_SECONDS", 2.0)
    link = Link(api.port)
    watch = watching(api.kubeconfig("through-link", port=link.port))
    eventually(lambda: watch.trouble == "", 10)
    link.freeze()
    uid = make(api, "unasked", labels={"app": "unasked"})

    eventually(lambda: label(watch, uid) == "unasked", 10)
    link.close()
    remove(api, "unasked")


def shipper_rights(api: ApiServer) -> list[str]:
    """Make what deploy/ gives the shipper; returns where its binding is."""
    groups = {"ServiceAccount": "/api/v1/namespaces/logging/serviceaccounts"}
    groups |= {
        kind: f"/apis/rbac.authorization.k8s.io/v1/{kind.lower()}s" for kind in ("ClusterRole", "ClusterRoleBinding")
    }
    made = []
    for body in yaml.safe_load_all((DEPLOY / "base" / "shipper" / "shipper.yaml").read_text()):
        if body["kind"] in groups:
            for subject in body.get("subjects", ()):
                subject["namespace"] = "logging"
            api.ask("POST", groups[body["kind"]], body)
            made.append(f"{groups[body['kind']]}/{body['metadata']['name']}")
    return made


def token(api: ApiServer, bound: str) -> str:
    """A token of the shipper's account that lives as long as the secret that it is bound to."""
    about = {"metadata": {"name": bound}, "type": "Opaque"}
    uid = api.ask("POST", "/api/v1/namespaces/logging/secrets", about)["metadata"]["uid"]
    spec = {"audiences": [], "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": bound, "uid": uid}}
    path = "/api/v1/namespaces/logging/serviceaccounts/crisp-shipper/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return str(api.ask("POST", path, body)["status"]["token"])


def test_with_its_own_rights_and_a_token_that_expires(api: ApiServer, watching: Start, tmp_path: Path) -> None:
    """As in a pod: the manifests' account, a token in a file; it is refused, a fresh one is written, it is used."""
    *_, binding = shipper_rights(api)
    file = tmp_path / "token"
    file.write_text(token(api, "first"))
    watch = watching(api.kubeconfig("own", tokenFile=str(file)))
    one = make(api, "one", labels={"app": "one"})
    eventually(lambda: label(watch, one) == "one", 15)

    def waiting_for(true: Callable[[], bool]) -> None:
        """The server remembers for ten seconds who may do what; whoever waits has the watch begun anew."""
        eventually(lambda: (watch.doubt(), true())[1], 30)

    api.ask("DELETE", "/api/v1/namespaces/logging/secrets/first")
    waiting_for(lambda: "status 401" in watch.trouble)
    file.write_text(token(api, "second"))
    two = make(api, "two", labels={"app": "two"})
    waiting_for(lambda: label(watch, two) == "two")
    eventually(lambda: watch.trouble == "", 5)

    api.ask("DELETE", binding)
    waiting_for(lambda: "status 403" in watch.trouble)
    assert label(watch, two) == "two", "what is known stays known"


@pytest.mark.parametrize("stored", [b"", b"\0" * 100, b'{"u":', b"5", b'{"u":3}', b"[]"])
def test_broken_stored_pods_are_asked_for_again(api: ApiServer, watching: Start, tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "pods.json").write_bytes(stored)
    uid = make(api, "again", labels={"app": "again"})
    watch = watching()

    eventually(lambda: label(watch, uid) == "again", 10)
    watch.store({uid})
    assert orjson.loads((tmp_path / "pods.json").read_bytes())[uid]["metadata"]["labels"] == {"app": "again"}
    remove(api, "again")
