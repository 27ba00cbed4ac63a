"""Pods of the namespace `shop`, made and removed at an API server; and what the shipper's watch knows of them."""

from collections.abc import Callable
from typing import Any

from agents.kubernetes.pod_watch import PodWatch
from pipeline.contract.pod_metadata import Instance
from tests.k8s.apiserver import ApiServer

Start = Callable[..., PodWatch]
"""Starts a watch of node-1, with a kubeconfig or as an administrator."""

PODS = "/api/v1/namespaces/shop/pods"


def make_pod(
    api: ApiServer, name: str, labels: dict[str, str] | None = None, node: str = "node-1", **about: Any
) -> str:
    """A pod bound to a node, to none where that is empty; returns its uid."""
    body = {
        "metadata": {"name": name, "labels": labels or {}, **about},
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "shop/app:1.2"}]},
    }
    return str(api.ask("POST", PODS, body)["metadata"]["uid"])


def bind_pod(api: ApiServer, name: str) -> None:
    """Put a pod on our node: only from now on our node's watch tells of it."""
    about = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
    api.ask("POST", f"{PODS}/{name}/binding", {**about, "target": {"kind": "Node", "name": "node-1"}})


def relabel_pod(api: ApiServer, name: str, **labels: str) -> None:
    """Change labels of a pod."""
    api.ask("PATCH", f"{PODS}/{name}", {"metadata": {"labels": labels}}, "application/merge-patch+json")


def remove_pod(api: ApiServer, name: str) -> None:
    """Delete a pod at once."""
    api.ask("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")


def label(watch: PodWatch, uid: str) -> str | None:
    """The label `app` of a pod as the watch knows it; None while it is not known."""
    found = watch.find(Instance("shop", "x", uid, "app", 0))
    return None if found is None else str(found["metadata"]["labels"].get("app"))


def is_deleted(watch: PodWatch, uid: str) -> bool:
    """Whether the watch knows that a pod is gone."""
    return bool((watch.find(Instance("shop", "x", uid, "app", 0)) or {}).get("deleted"))
