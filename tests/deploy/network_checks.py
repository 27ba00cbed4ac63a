"""What the network policies let through, worked out as a network plugin does: nothing here can enforce them."""

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.deploy.manifests import NAMESPACE, Manifest, Objects, of_kind, pod_spec, title, workloads


class End(NamedTuple):
    """One end of a connection: a pod by namespace and labels, or an address outside."""

    namespace: str
    labels: dict[str, str]
    address: str = ""


NAMESPACES = {
    NAMESPACE: {},
    "logging-agents": {},
    "kube-system": {},
    "keda": {},
    "elastic-system": {},
    "monitoring": {},
    "gateway": {"logs.crisp/kibana": "visitors", "logs.crisp/fleet-page": "visitors"},
    "shop": {},
}
# Pods of others, with the labels that their operators and charts give them.
PODS = {
    "elasticsearch": End(NAMESPACE, {"common.k8s.elastic.co/type": "elasticsearch"}),
    "kibana": End(NAMESPACE, {"common.k8s.elastic.co/type": "kibana"}),
    "kafka": End(NAMESPACE, {"strimzi.io/cluster": "logs", "strimzi.io/kind": "Kafka", "strimzi.io/pool-name": "dual"}),
    "dns": End("kube-system", {"k8s-app": "kube-dns"}),
    "local dns": End("", {}, "169.254.20.10"),
    "api": End("", {}, "203.0.113.10"),
    "eck": End("elastic-system", {"app.kubernetes.io/name": "elastic-operator"}),
    "eck, plain manifests": End("elastic-system", {"control-plane": "elastic-operator"}),
    "keda": End("keda", {"app": "keda-operator"}),
    "konnectivity": End("kube-system", {"k8s-app": "konnectivity-agent"}),
    "prometheus": End("monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "fluent-bit": End(NAMESPACE, {"app": "fluent-bit"}),
    "visitor": End("gateway", {}),
    "stranger": End("shop", {"app": "shop"}),
    "neighbour": End(NAMESPACE, {"app": "something-else"}),
}


def _ends(objects: Objects) -> dict[str, End]:
    ours = {
        entry["metadata"]["name"]: End(entry["metadata"]["namespace"], entry["spec"]["template"]["metadata"]["labels"])
        for entry in workloads(objects)
    }
    return {**PODS, **ours}


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector matches; only the operator that our manifests use is known."""
    for row in selector.get("matchExpressions", ()):
        assert row["operator"] == "In", row
        if labels.get(row["key"]) not in row["values"]:
            return False
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _is_peer(peer: Manifest, end: End, home: str) -> bool:
    """Whether a peer of a policy in the namespace `home` is that end."""
    if "ipBlock" in peer:
        inside = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        # Of a pod nobody knows the address, so only what is outside counts as in a block.
        return bool(end.address) and ipaddress.ip_address(end.address) in inside
    if end.address:
        return False
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": end.namespace, **NAMESPACES[end.namespace]}
        if not _selects(peer["namespaceSelector"], labels):
            return False
    elif end.namespace != home:
        return False
    return _selects(peer.get("podSelector", {}), end.labels)


def _one_way(objects: Objects, one: End, other: End, port: Any, direction: str) -> bool:
    """Whether the policies of `one` let it speak to, or be spoken to by, `other`."""
    if one.address:
        return True
    key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    governing = [
        entry["spec"]
        for entry in (*of_kind(objects, "NetworkPolicy"), *_by_strimzi(objects))
        if entry["metadata"]["namespace"] == one.namespace
        and direction in entry["spec"]["policyTypes"]
        and _selects(entry["spec"]["podSelector"], one.labels)
    ]
    rules = [rule for spec in governing for rule in spec.get(key, ())]
    return not governing or any(
        (not rule.get("ports") or port in [(row["port"], row["protocol"]) for row in rule["ports"]])
        and (not rule.get(peers) or any(_is_peer(peer, other, one.namespace) for peer in rule[peers]))
        for rule in rules
    )


def _by_strimzi(objects: Objects) -> Objects:
    """The policies that Strimzi's operator writes of the listeners' peers."""
    rules = [
        {"ports": [{"port": listener["port"], "protocol": "TCP"}], "from": listener["networkPolicyPeers"]}
        for entry in of_kind(objects, "Kafka")
        for listener in entry["spec"]["kafka"]["listeners"]
    ]
    pods = {"matchLabels": {"strimzi.io/cluster": "logs", "strimzi.io/kind": "Kafka"}}
    return (
        [
            {
                "metadata": {"namespace": NAMESPACE},
                "spec": {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": rules},
            }
        ]
        if rules
        else []
    )


def passes(objects: Objects, source: str, target: str, port: Any, protocol: str = "TCP") -> bool:
    """Whether a connection is let out here and let in there."""
    ends = _ends(objects)
    one, other = ends[source], ends[target]
    return _one_way(objects, one, other, (port, protocol), "Egress") and _one_way(
        objects, other, one, (port, protocol), "Ingress"
    )


OURS = ("crisp-shipper", "crisp-worker", "crisp-setup")
OBJECTS = "crisp-kibana"
FLEET_PAGE = "crisp-fleet-page"


def _has_status_readers(objects: Objects) -> bool:
    return any(entry["metadata"]["name"] == "crisp-status-reader" for entry in of_kind(objects, "ClusterRole"))


def open_ways(objects: Objects) -> Iterator[str]:
    """A connection that is needed and shut."""
    needed: list[tuple[str, str, Any, str]] = [
        (name, dns, 53, kind) for name in OURS for dns in ("dns", "local dns") for kind in ("UDP", "TCP")
    ]
    needed += [("crisp-shipper", "api", port, "TCP") for port in (443, 6443)]
    needed += [(name, part, "status", "TCP") for name in ("prometheus", "crisp-worker") for part in OURS[:2]]
    if _has_status_readers(objects):
        needed += [(name, part, "status", "TCP") for name in ("api", "konnectivity") for part in OURS[:2]]
    if of_kind(objects, "Kafka"):
        needed += [(name, "kafka", 9093, "TCP") for name in (*OURS, "keda")]
    if any(entry["metadata"]["name"] == "fluent-bit" for entry in of_kind(objects, "KafkaUser")):
        needed += [("fluent-bit", "kafka", 9093, "TCP")]
    if of_kind(objects, "Elasticsearch"):
        callers = ("crisp-worker", "crisp-setup", "eck", "eck, plain manifests", "elasticsearch")
        needed += [(name, "elasticsearch", 9200, "TCP") for name in callers]
        needed += [("elasticsearch", "elasticsearch", 9300, "TCP")]
    if of_kind(objects, "Kibana"):
        needed += [("kibana", "elasticsearch", 9200, "TCP"), ("kibana", "dns", 53, "TCP"), ("kibana", "dns", 53, "UDP")]
        needed += [("visitor", "kibana", 5601, "TCP"), (OBJECTS, "kibana", 5601, "TCP"), (OBJECTS, "dns", 53, "UDP")]
    if FLEET_PAGE in _ends(objects):
        needed += [("visitor", FLEET_PAGE, "page", "TCP")]
        needed += [(FLEET_PAGE, "api", port, "TCP") for port in (443, 6443)]
    yield from (f"{way[0]} cannot reach {way[1]} at {way[2]}" for way in needed if not passes(objects, *way))


def shut_ways(objects: Objects) -> Iterator[str]:
    """A connection that nobody needs and that is open."""
    unwanted: list[tuple[str, str, Any]] = [("stranger", name, "status") for name in OURS]
    unwanted += [
        ("neighbour", "crisp-worker", "status"),
        ("crisp-shipper", "crisp-worker", "status"),
        ("crisp-worker", "stranger", 80),
        ("crisp-worker", "api", 6443),
    ]
    if not _has_status_readers(objects):
        unwanted += [(name, part, "status") for name in ("api", "konnectivity") for part in OURS[:2]]
    if of_kind(objects, "Elasticsearch"):
        unwanted += [(name, "elasticsearch", 9200) for name in ("crisp-shipper", "stranger", "neighbour", "prometheus")]
        unwanted += [
            ("crisp-worker", "elasticsearch", 9300),
            ("crisp-shipper", "api", 9200),
            ("crisp-worker", "api", 9200),
        ]
    if of_kind(objects, "Kafka"):
        unwanted += [(name, "api", 9093) for name in OURS]
        unwanted += [(name, "kafka", 9093) for name in ("stranger", "neighbour", "kibana")]
    if of_kind(objects, "Kibana"):
        unwanted += [("stranger", "kibana", 5601), ("neighbour", "kibana", 5601), ("kibana", "kafka", 9093)]
        unwanted += [("crisp-worker", "kibana", 5601), (OBJECTS, "elasticsearch", 9200), (OBJECTS, "api", 443)]
    if FLEET_PAGE in _ends(objects):
        unwanted += [(name, FLEET_PAGE, "page") for name in ("stranger", "neighbour", "prometheus", *OURS)]
        unwanted += [(FLEET_PAGE, name, "status") for name in OURS] + [(FLEET_PAGE, "stranger", 443)]
    yield from (f"{way[0]} can reach {way[1]} at {way[2]}" for way in unwanted if passes(objects, *way))


def nobody(objects: Objects) -> Iterator[str]:
    """A policy for pods that do not exist: a label misspelt."""
    ends = _ends(objects).values()
    for entry in of_kind(objects, "NetworkPolicy"):
        home = entry["metadata"]["namespace"]
        if not any(end.namespace == home and _selects(entry["spec"]["podSelector"], end.labels) for end in ends):
            yield f"{title(entry)}: selects no pod"
        for key, peers in (("ingress", "from"), ("egress", "to")):
            for peer in (peer for rule in entry["spec"].get(key, ()) for peer in rule.get(peers, ())):
                if not any(_is_peer(peer, end, home) for end in ends):
                    yield f"{title(entry)}: there is no {peer}"


def named_ports(objects: Objects) -> Iterator[str]:
    """A port by a name that the selected pods do not have."""
    for entry in of_kind(objects, "NetworkPolicy"):
        names = {
            row["port"]
            for rule in entry["spec"].get("ingress", ())
            for row in rule.get("ports", ())
            if isinstance(row["port"], str)
        }
        have = {
            port["name"]
            for workload in workloads(objects)
            if _selects(entry["spec"]["podSelector"], workload["spec"]["template"]["metadata"]["labels"])
            for row in pod_spec(workload)["containers"]
            for port in row.get("ports", ())
        }
        yield from (f"{title(entry)}: its pods have no port {name}" for name in sorted(names - have))


CHECKS = (open_ways, shut_ways, nobody, named_ports)
