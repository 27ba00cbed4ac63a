"""The operators' definitions of their objects, the original ones, on an API server."""

from pathlib import Path

from tests.k8s.apiserver import ApiServer

# external-secrets 0.16 is the last that serves v1 and v1beta1; ECK 2.11 is the operator that we ship.
CRDS = (
    *("eck-2.11.0", "strimzi-1.2.0", "keda-2.20.2", "external-secrets-0.16.2"),
    *("argo-cd-3.5.1", "prometheus-operator-0.93.0"),
)


def define(server: ApiServer, shared: Path) -> None:
    """Apply them all and wait until the server serves them."""
    for crds in CRDS:
        server.kubectl("apply", "--server-side", "-f", str(shared / "schemas" / "crds" / crds))
    server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
