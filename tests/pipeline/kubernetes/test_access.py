"""Which access an operator's command has."""

import json
from pathlib import Path

import pytest

from pipeline.errors import KubernetesError
from pipeline.kubernetes import access
from pipeline.kubernetes.access import ServiceAccount, find_access
from pipeline.kubernetes.client import ApiClient
from pipeline.kubernetes.kubeconfig import Kubeconfig
from tests.support import fake_kubernetes_api

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


def write_kubeconfig(path: Path, server: str) -> str:
    """Write a kubeconfig without credentials; return its path."""
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(config))
    return str(path)


def test_order_is_setting_variable_service_account_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "SERVICE_ACCOUNT_DIRECTORY", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    first, second = (write_kubeconfig(tmp_path / name, f"https://{name}:6443") for name in ("first", "second"))
    (tmp_path / ".kube").mkdir()
    write_kubeconfig(tmp_path / ".kube" / "config", "https://home:6443/base/")
    (tmp_path / "token").write_text("t")

    assert find_access(first, {**POD, "KUBECONFIG": second}).url == "https://first:6443"
    assert find_access("", {**POD, "KUBECONFIG": second}).url == "https://second:6443"
    assert isinstance(find_access("", POD), ServiceAccount)
    home = find_access("", {})
    assert (home.url, home.base_path) == ("https://home:6443/base", "/base")
    (tmp_path / "token").unlink()
    assert find_access("", POD).url == home.url, "a pod without a token has no service account to use"


def test_context_is_the_named_one_also_in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "SERVICE_ACCOUNT_DIRECTORY", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text("t")
    (tmp_path / ".kube").mkdir()
    path = Path(write_kubeconfig(tmp_path / ".kube" / "config", "https://first:6443"))
    config = json.loads(path.read_text())
    config["clusters"].append({"name": "other", "cluster": {"server": "https://other:6443"}})
    config["contexts"].append({"name": "other", "context": {"cluster": "other", "user": "u"}})
    path.write_text(json.dumps(config))

    assert find_access("", POD, context="other").url == "https://other:6443"
    assert find_access(str(path)).url == "https://first:6443"
    with pytest.raises(KubernetesError, match="absent"):
        find_access(str(path), context="absent")


@pytest.mark.parametrize("content", [None, "", "{}", "a: [", '{"current-context": "c", "contexts": []}'])
def test_unusable_kubeconfig_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)

    with pytest.raises(KubernetesError, match=f"cannot use the kubeconfig {path}"):
        find_access(str(path))


def test_proxy_that_is_not_http_is_rejected(tmp_path: Path) -> None:
    path = Path(write_kubeconfig(tmp_path / "kubeconfig", "https://10.0.0.1:6443"))
    config = json.loads(path.read_text())
    config["clusters"][0]["cluster"]["proxy-url"] = "socks5://127.0.0.1:1080"
    path.write_text(json.dumps(config))

    with pytest.raises(KubernetesError, match="socks5:// is not supported"):
        Kubeconfig(str(path)).open(1.0)


def test_proxy_is_used_as_a_tunnel(tmp_path: Path) -> None:
    path = Path(write_kubeconfig(tmp_path / "kubeconfig", "https://10.0.0.1:6443"))
    config = json.loads(path.read_text())
    config["clusters"][0]["cluster"]["proxy-url"] = "http://127.0.0.1:3128"
    path.write_text(json.dumps(config))
    connection = Kubeconfig(str(path)).open(1.0)

    assert (connection.host, connection.port) == ("127.0.0.1", 3128)


def test_server_name_of_the_kubeconfig_is_verified(tmp_path: Path) -> None:
    with fake_kubernetes_api.running(tmp_path) as api:
        named = Kubeconfig(str(api.kubeconfig(**{"tls-server-name": "kubernetes.default.svc"})))
        assert ApiClient(named).get_object("/version")
        other = Kubeconfig(str(api.kubeconfig(**{"tls-server-name": "other"})))
        with pytest.raises(KubernetesError, match="certificate is not valid: Hostname mismatch"):
            ApiClient(other).get_object("/version")


def test_unverified_server_is_used_only_on_request(tmp_path: Path) -> None:
    options = {"certificate-authority": None, "insecure-skip-tls-verify": True}
    with fake_kubernetes_api.running(tmp_path) as api:
        path = api.kubeconfig(**options)
        config = json.loads(path.read_text())
        del config["clusters"][0]["cluster"]["certificate-authority"]
        path.write_text(json.dumps(config))

        assert ApiClient(Kubeconfig(str(path))).get_object("/version")
