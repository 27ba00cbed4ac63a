"""The pods of a node at a small API server: in a pod with the service account, and by a kubeconfig."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.kubernetes import pod_api, pod_watch
from agents.kubernetes.pod_watch import PodWatch
from pipeline.config.settings import Settings
from pipeline.contract.pod_metadata import Instance
from pipeline.errors import KubernetesError
from pipeline.kubernetes import access, client
from pipeline.kubernetes.access import ServiceAccount
from tests.agents.kubernetes.conftest import Start
from tests.support import fake_kubernetes_api as kubernetes_api
from tests.support.fake_kubernetes_api import KubernetesApi, make_pod


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition was not met in time"
        time.sleep(0.02)


def label(watch: PodWatch, name: str) -> str | None:
    """The label `app` of a pod as the watch knows it; None while it is unknown."""
    pod = watch.find(Instance("shop", name, f"uid-{name}", "app", 0))
    return None if pod is None else str(pod["metadata"]["labels"].get("app"))


def is_deleted(watch: PodWatch, name: str) -> bool:
    return bool((watch.find(Instance("shop", name, f"uid-{name}", "app", 0)) or {}).get("deleted"))


def watches(api: KubernetesApi) -> list[str]:
    return [request for request in api.requests if "watch=true" in request]


def lists(api: KubernetesApi) -> list[str]:
    return [request for request in api.requests if "watch=true" not in request]


def test_pods_are_listed_added_changed_and_deleted(api: KubernetesApi, start: Start) -> None:
    api.put(make_pod("early", app="early"))
    api.put(make_pod("elsewhere", node="node-2"))
    watch = start()
    eventually(lambda: label(watch, "early") == "early")

    api.put(make_pod("late", app="late"))
    eventually(lambda: label(watch, "late") == "late")
    api.put(make_pod("late", app="changed"), "MODIFIED")
    eventually(lambda: label(watch, "late") == "changed")
    api.put(make_pod("late", app="changed"), "DELETED")
    eventually(lambda: is_deleted(watch, "late"))

    assert label(watch, "elsewhere") is None
    assert watch.problem == ""
    assert "fieldSelector=spec.nodeName%3Dnode-1" in api.requests[0]


def test_list_has_pages(api: KubernetesApi, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_watch, "LIST_LIMIT", 2)
    for number in range(7):
        api.put(make_pod(f"page-{number}", app="page"))
    watch = start()

    eventually(lambda: all(label(watch, f"page-{number}") == "page" for number in range(7)))
    assert len(lists(api)) == 4


def test_watch_continues_at_the_last_bookmark(api: KubernetesApi, start: Start) -> None:
    watch = start()
    eventually(lambda: len(watches(api)) == 1)
    api.bookmark()
    version = api.version
    api.end_watches()
    eventually(lambda: len(watches(api)) == 2)

    assert f"resourceVersion={version}" in watches(api)[1]
    assert len(lists(api)) == 1
    assert watch.problem == ""


def test_expired_version_is_listed_again(api: KubernetesApi, start: Start) -> None:
    api.put(make_pod("lost", app="lost"))
    watch = start()
    eventually(lambda: len(watches(api)) == 1)
    api.hanging.set()
    api.put(make_pod("lost", app="lost"), "DELETED")
    api.compact()
    api.end_watches()
    eventually(lambda: len(lists(api)) == 2)
    api.hanging.clear()

    eventually(lambda: is_deleted(watch, "lost"))
    assert watch.problem == ""


def test_error_event_410_is_listed_again(api: KubernetesApi, start: Start) -> None:
    start()
    eventually(lambda: len(watches(api)) == 1)
    api.send_error(410)

    eventually(lambda: len(lists(api)) == 2)


def test_rejected_token_is_read_again(api: KubernetesApi, start: Start) -> None:
    watch = start()
    eventually(lambda: len(watches(api)) == 1)
    api.tokens = {"token-2"}
    api.end_watches()
    eventually(lambda: "status 401" in watch.problem)
    api.service_account("token-2\n")
    api.put(make_pod("late", app="late"))

    eventually(lambda: label(watch, "late") == "late")
    assert watch.problem == ""
    assert len(lists(api)) == 1, "an expired token does not expire the resourceVersion"


def test_token_that_is_no_header_is_not_shown(api: KubernetesApi, start: Start) -> None:
    api.service_account("secret\r\nX-Evil: 1")
    watch = start()
    eventually(lambda: "no HTTP header" in watch.problem)

    assert "secret" not in watch.problem


def test_refusal_is_reported_in_the_servers_words(api: KubernetesApi, start: Start) -> None:
    api.forbidden = {"pods"}
    watch = start()

    eventually(lambda: "status 403: pods is forbidden" in watch.problem)
    api.forbidden = set()
    eventually(lambda: watch.problem == "")


def test_busy_server_is_not_requested_before_its_time(api: KubernetesApi, start: Start) -> None:
    body = b'{"kind":"Status","message":"too many requests","code":429}'
    api.responses = [(429, {"Retry-After": "2"}, body)]
    started = time.monotonic()
    watch = start()
    eventually(lambda: "status 429: too many requests" in watch.problem)
    while time.monotonic() - started < 1.8:
        watch._received_at = 0.0
        watch.restart_if_silent()
        time.sleep(0.1)

    assert len(api.requests) == 1
    eventually(lambda: watch.problem == "")


def test_hanging_watch_is_restarted_for_a_waiting_file(api: KubernetesApi, start: Start) -> None:
    watch = start()
    eventually(lambda: len(watches(api)) == 1)
    api.hanging.set()
    api.put(make_pod("late", app="late"))
    time.sleep(0.3)
    assert label(watch, "late") is None
    watch._received_at = 0.0
    watch.restart_if_silent()
    eventually(lambda: len(watches(api)) == 2)
    api.hanging.clear()

    eventually(lambda: label(watch, "late") == "late")
    assert watch.problem == ""


def test_watch_without_a_first_byte_is_restarted_for_a_waiting_file(api: KubernetesApi, start: Start) -> None:
    api.stalled.set()
    watch = start()
    eventually(lambda: len(watches(api)) == 1)
    time.sleep(0.2)
    watch._received_at = 0.0
    watch.restart_if_silent()

    eventually(lambda: len(watches(api)) == 2)
    assert watch.problem == ""


def test_hanging_watch_times_out(api: KubernetesApi, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_api, "WATCH_READ_TIMEOUT_SECONDS", 0.5)
    watch = start()
    eventually(lambda: "timed out" in watch.problem)

    eventually(lambda: len(watches(api)) >= 2)


def test_stop_ends_the_watch(api: KubernetesApi, start: Start) -> None:
    watch = start()
    eventually(lambda: len(watches(api)) == 1)
    watch.stop()
    time.sleep(0.5)

    assert len(watches(api)) == 1


@pytest.mark.parametrize(
    ("code", "body"), [(200, b"<html>a proxy's page</html>"), (200, b"[]"), (200, b""), (502, b"bad gateway")]
)
def test_response_of_another_server_is_reported_and_retried(
    api: KubernetesApi, start: Start, code: int, body: bytes
) -> None:
    api.responses = [(code, {}, body)] * 2
    watch = start()
    eventually(lambda: "cannot watch pods: " in watch.problem)

    eventually(lambda: watch.problem == "")


def test_large_page_is_listed_in_smaller_pages(
    api: KubernetesApi, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_RESPONSE_BYTES", 3000)
    monkeypatch.setattr(client.ApiClient.get, "__kwdefaults__", {"max_bytes": 3000, "timeout": 30.0})
    for number in range(20):
        api.put(make_pod(f"page-{number}", app="x" * 100))
    watch = start()

    eventually(lambda: "exceeds 3000 bytes" in watch.problem)
    eventually(lambda: label(watch, "page-19") is not None and watch.problem == "", 20)


def test_large_line_is_listed_again(api: KubernetesApi, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_LINE_BYTES", 20_000)
    watch = start()
    eventually(lambda: len(watches(api)) == 1)
    api.put(make_pod("huge", app="x" * 30_000))

    eventually(lambda: label(watch, "huge") is not None)
    assert len(lists(api)) == 2


def test_truncated_response_is_reported(api: KubernetesApi, settings: Settings) -> None:
    api.responses = [(200, {"Content-Length": "50", "Connection": "close"}, b"{}")]

    with pytest.raises(KubernetesError, match="the response ended early"):
        pod_api.connect(settings).get({})


def test_unavailable_server_is_named(api: KubernetesApi, start: Start) -> None:
    api.close()
    watch = start()

    eventually(lambda: f"https://127.0.0.1:{api.port}" in watch.problem and "refused" in watch.problem)


def test_foreign_certificate_is_rejected(
    api: KubernetesApi, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with kubernetes_api.running(other):
        foreign = (other / "tls.crt").read_bytes()
    (tmp_path / "ca.crt").write_bytes(foreign)
    (tmp_path / "tls.crt").write_bytes(foreign)
    watch = start()

    eventually(lambda: "its certificate is not valid: self-signed certificate" in watch.problem)
    assert api.requests == []


class TestServiceAccount:
    """What only a pod has."""

    def test_missing_and_empty_tokens_are_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access, "SERVICE_ACCOUNT_DIRECTORY", tmp_path)
        account = ServiceAccount({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
        with pytest.raises(KubernetesError, match="cannot read the service account's token"):
            account.authorization()
        (tmp_path / "token").write_text(" \n")
        with pytest.raises(KubernetesError, match="is empty"):
            account.authorization()
        with pytest.raises(KubernetesError, match="cannot load the cluster's CA"):
            account.open(1.0)

    @pytest.mark.parametrize(
        ("host", "url"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
    )
    def test_url_has_ipv6_hosts_in_brackets(self, host: str, url: str) -> None:
        assert ServiceAccount({"KUBERNETES_SERVICE_HOST": host}).url == url
        assert ServiceAccount({"KUBERNETES_SERVICE_HOST": f"[{host}]"}).url == url

    def test_environment_without_api_is_rejected(self) -> None:
        with pytest.raises(KubernetesError, match="not in a pod"):
            ServiceAccount({})
        with pytest.raises(KubernetesError, match="not in a pod"):
            ServiceAccount({"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "tcp://h:1"})

    def test_ipv6_server_is_reached(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        try:
            server = kubernetes_api.KubernetesApi(tmp_path, "::1")
        except OSError:
            pytest.skip("no IPv6 on this machine")
        monkeypatch.setattr(access, "SERVICE_ACCOUNT_DIRECTORY", server.service_account())
        environ = {"KUBERNETES_SERVICE_HOST": "::1", "KUBERNETES_SERVICE_PORT": str(server.port)}
        page = client.ApiClient(ServiceAccount(environ)).get_object("/api/v1/pods")
        server.close()

        assert page["items"] == []
        assert server.headers[0]["Host"] == f"[::1]:{server.port}"

    def test_proxy_of_the_environment_is_not_used(self, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access, "SERVICE_ACCOUNT_DIRECTORY", api.service_account())
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        environ = {"KUBERNETES_SERVICE_HOST": api.host, "KUBERNETES_SERVICE_PORT": str(api.port)}

        assert client.ApiClient(ServiceAccount(environ)).get_object("/version") == {"gitVersion": "v1.36.3"}


def test_shipper_in_a_pod_never_imports_the_official_client(api: KubernetesApi, tmp_path: Path) -> None:
    """The whole shipper's modules, and a list and a watch: the official client would need 18 MiB."""
    api.put(make_pod("pay", app="pay"))
    code = f"""
import os, sys, time
os.environ.update(KUBERNETES_SERVICE_HOST={api.host!r}, KUBERNETES_SERVICE_PORT={str(api.port)!r})
import agents.cli, agents.shipper
from pathlib import Path
from agents.kubernetes import pod_api
from agents.kubernetes.pod_watch import PodWatch
from pipeline.config.settings import Settings
from pipeline.kubernetes import access
access.SERVICE_ACCOUNT_DIRECTORY = Path({str(api.service_account())!r})
settings = Settings(node_name="node-1", state_dir={str(tmp_path)!r})
assert pod_api.is_enabled(settings)
watch = PodWatch(settings)
watch.start()
while watch.problem or not watch.changes:
    time.sleep(0.05)
print([m for m in sys.modules if m.split(".")[0] in ("kubernetes", "urllib3", "yaml", "pydantic", "requests")])
"""
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert output == "[]\n"


def test_waiting_file_does_not_shorten_the_back_off(
    api: KubernetesApi, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_watch, "SILENT_SECONDS", 0.0)
    api.responses = [(429, {}, b"")] * 100
    watch = start()
    deadline = time.monotonic() + 1.2
    while time.monotonic() < deadline:
        watch.restart_if_silent()
        time.sleep(0.01)

    assert 1 <= len(api.requests) <= 5


def test_pods_that_came_and_went_while_no_watch_ran_are_unseen(api: KubernetesApi, start: Start) -> None:
    api.put(make_pod("first", app="old"))
    watch = start()
    eventually(lambda: label(watch, "first") == "old")
    api.bookmark()
    eventually(lambda: watch._version == str(api.version))
    watch.store({"uid-first"})
    watch.stop()
    api.put(make_pod("first", app="between"), "MODIFIED")
    api.put(make_pod("first", app="new"), "MODIFIED")
    api.put(make_pod("brief", app="brief"))
    api.put(make_pod("brief", app="brief"), "DELETED")
    api.put(make_pod("elsewhere", node="node-2"))
    api.put(make_pod("elsewhere", node="node-2"), "DELETED")

    watch = start()
    unseen: list[str] = []

    def brief_is_unseen() -> bool:
        unseen.extend(pod["metadata"]["name"] for pod in watch.take_unseen())
        return bool(unseen)

    eventually(brief_is_unseen)
    assert (unseen, label(watch, "brief"), label(watch, "first")) == (["brief"], "brief", "new")
    assert not is_deleted(watch, "first")
    assert watch.take_unseen() == []


def test_stored_version_that_is_too_old_causes_a_new_list(api: KubernetesApi, start: Start) -> None:
    api.put(make_pod("first", app="first"))
    watch = start()
    eventually(lambda: label(watch, "first") == "first")
    watch.store({"uid-first"})
    watch.stop()
    api.put(make_pod("first", app="first"), "DELETED")
    api.put(make_pod("second", app="second"))
    api.bookmark()
    api.compact()

    watch = start()
    eventually(lambda: label(watch, "second") == "second" and not watch.problem)
    api.put(make_pod("third", app="third"))
    eventually(lambda: label(watch, "third") == "third")
    assert is_deleted(watch, "first")
