"""`--kube` of `crisp status` and `crisp check`: options, output, exit codes."""

from pathlib import Path

import orjson
import pytest

from pipeline.cli.main import main
from tests.support import fake_kubernetes_api
from tests.support.crisp_cluster import CrispCluster


def test_status_and_check_exit_by_severity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_kubernetes_api.running(tmp_path) as api:
        cluster = CrispCluster(api)
        monkeypatch.setenv("CRISP_KUBECONFIG", str(api.kubeconfig()))

        assert main(["status", "--kube", "--once", "--strict"]) == 0
        assert main(["check", "--kube", "--json"]) == 0
        assert orjson.loads(capsys.readouterr().out.splitlines()[-1])["good"] is True

        cluster.want("shipper", 3)
        assert main(["status", "--kube", "--json", "--namespace", "agents", "--namespace", "logging"]) == 1
        assert orjson.loads(capsys.readouterr().out)["state"] == "critical"
        assert main(["check", "--kube"]) == 1
        assert "FAIL  shippers: 2 of 3 nodes" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "check"])
def test_namespace_or_context_without_kube_is_wrong_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--namespace", "logging"]) == 2
    assert "--namespace needs --kube" in capsys.readouterr().err
    assert main([command, "--context", "staging"]) == 2
    assert "--context needs --kube" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "check"])
def test_missing_kubeconfig_is_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRISP_KUBECONFIG", str(tmp_path / "none"))

    assert main([command, "--kube"]) == 1
    assert "cannot use the kubeconfig" in capsys.readouterr().err
