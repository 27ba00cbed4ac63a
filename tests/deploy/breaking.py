"""Ways to break a sound manifest in one place, so that a check can be seen to find it."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.deploy.manifests import Manifest, Objects, named, of_kind, overlay

Check = Callable[[Objects], Iterator[str]]
Break = Callable[[Objects], object]
Case = tuple[str, Check, Break]
"""What is broken in words, the check that must find it, and how it is broken."""


def at(kind: str, name: str, *path: str | int, to: Any) -> Break:
    """Set one place of one object; the last step may be new."""

    def mend(objects: Objects) -> None:
        place: Any = named(objects, kind, name)
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return mend


def without(kind: str, name: str) -> Break:
    """Leave one object out."""
    return lambda objects: objects.remove(named(objects, kind, name))


def in_pod(kind: str, name: str, *path: str | int, to: Any) -> Break:
    """Set one place of a pod's spec."""
    return at(kind, name, "spec", "template", "spec", *path, to=to)


def in_shipper(*path: str | int, to: Any) -> Break:
    """Set one place of the shipper's pods."""
    return in_pod("DaemonSet", "crisp-shipper", *path, to=to)


def in_worker(*path: str | int, to: Any) -> Break:
    """Set one place of the worker's pods."""
    return in_pod("Deployment", "crisp-worker", *path, to=to)


def in_config(**entries: str) -> Break:
    """Set entries of the ConfigMap that all parts read."""

    def mend(objects: Objects) -> None:
        _config(objects)["data"] |= entries

    return mend


def _config(objects: Objects) -> Manifest:
    (found,) = [entry for entry in of_kind(objects, "ConfigMap") if "CRISP_KAFKA_BROKERS" in entry["data"]]
    return found


def in_trigger(**entries: Any) -> Break:
    """Set what KEDA's trigger is told."""

    def mend(objects: Objects) -> None:
        named(objects, "ScaledObject", "crisp-worker")["spec"]["triggers"][0]["metadata"] |= entries

    return mend


def no_peer(policy: str, direction: str, rule: int, peer: int) -> Break:
    """Leave one peer out of a network policy."""
    key = {"ingress": "from", "egress": "to"}[direction]
    return lambda objects: named(objects, "NetworkPolicy", policy)["spec"][direction][rule][key].pop(peer)


CONTAINER = ("containers", 0)
POD_LABELS = ("spec", "template", "metadata", "labels")
NODE_SET = ("spec", "nodeSets", 0, "podTemplate", "spec")


def faults(check: Check, break_it: Break) -> list[str]:
    """What a check says of what is broken; it must have nothing to say of what stands."""
    objects = overlay("prod")
    assert list(check(objects)) == []
    break_it(objects)
    return list(check(objects))
