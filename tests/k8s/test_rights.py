"""The rights that deploy/ gives shippers and operators, on a real API server: enough, and what happens without."""

import contextlib
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import DEPLOY
from tests.integration.flow import eventually
from tests.k8s.apiserver import ApiServer
from tests.k8s.pods import Start, label, make_pod, remove_pod

Create = Callable[..., list[str]]
"""Creates the objects of a manifest; returns the paths of everything that was created."""

pytestmark = pytest.mark.k8s


RBAC = "/apis/rbac.authorization.k8s.io/v1"
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/logging/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "RoleBinding": f"{RBAC}/namespaces/logging/rolebindings",
}


@pytest.fixture
def create(api: ApiServer) -> Iterator[Create]:
    """Creates objects from a manifest of deploy/; all are deleted at the end."""
    made: list[str] = []

    def create(*path: str) -> list[str]:
        for body in yaml.safe_load_all((DEPLOY.joinpath(*path)).read_text()):
            if body["kind"] in PATHS:
                for subject in body.get("subjects", ()):
                    if subject["kind"] == "ServiceAccount":
                        subject["namespace"] = "logging"
                api.ask("POST", PATHS[body["kind"]], body)
                made.append(f"{PATHS[body['kind']]}/{body['metadata']['name']}")
        return made

    yield create
    for path in [*made, *(f"/api/v1/namespaces/logging/secrets/{name}" for name in ("first", "second"))]:
        with contextlib.suppress(urllib.error.HTTPError):
            api.ask("DELETE", path)


def token(api: ApiServer, bound: str) -> str:
    """A token of the shipper's account that lives as long as the secret that it is bound to."""
    about = {"metadata": {"name": bound}, "type": "Opaque"}
    uid = api.ask("POST", "/api/v1/namespaces/logging/secrets", about)["metadata"]["uid"]
    spec = {"audiences": [], "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": bound, "uid": uid}}
    path = "/api/v1/namespaces/logging/serviceaccounts/crisp-shipper/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return str(api.ask("POST", path, body)["status"]["token"])


def test_watch_works_with_its_own_role_and_an_expiring_token(
    api: ApiServer, create: Create, watching: Start, tmp_path: Path
) -> None:
    """As in a pod: the manifests' account, a token in a file; it is refused, a fresh one is written, it is used."""
    *_, binding = create("base", "shipper", "shipper.yaml")
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
    remove_pod(api, "one")
    remove_pod(api, "two")
