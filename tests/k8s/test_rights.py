"""The rights that deploy/ gives the shipper, on a real API server: enough, and what becomes of it without."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import DEPLOY
from tests.integration.flow import eventually
from tests.k8s.apiserver import ApiServer
from tests.k8s.pods import Start, label, make_pod

pytestmark = pytest.mark.k8s


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


def test_watch_works_with_its_own_role_and_an_expiring_token(api: ApiServer, watching: Start, tmp_path: Path) -> None:
    """As in a pod: the manifests' account, a token in a file; it is refused, a fresh one is written, it is used."""
    *_, binding = shipper_rights(api)
    file = tmp_path / "own-token"
    file.write_text(token(api, "first"))
    watch = watching(api.kubeconfig("own", tokenFile=str(file)))
    one = make_pod(api, "one", labels={"app": "one"})
    eventually(lambda: label(watch, one) == "one", 15)

    def waiting_for(true: Callable[[], bool]) -> None:
        """The server remembers for ten seconds who may do what; whoever waits has the watch begun anew."""

        def restarted_and_true() -> bool:
            watch.restart_if_silent()
            return true()

        eventually(restarted_and_true, 30)

    api.ask("DELETE", "/api/v1/namespaces/logging/secrets/first")
    waiting_for(lambda: "status 401" in watch.problem)
    file.write_text(token(api, "second"))
    two = make_pod(api, "two", labels={"app": "two"})
    waiting_for(lambda: label(watch, two) == "two")
    eventually(lambda: watch.problem == "", 5)

    api.ask("DELETE", binding)
    waiting_for(lambda: "status 403" in watch.problem)
    assert label(watch, two) == "two", "what is known stays known"
