"""Each check of the network policies finds one place broken in a sound manifest."""

import pytest

from tests.deploy import network_checks as network
from tests.deploy.breaking import (
    Break,
    Case,
    Check,
    at,
    faults,
    no_peer,
)
from tests.deploy.manifests import Objects, named, needs_kubectl, of_kind
from tests.deploy.unsaid import unsaid

pytestmark = needs_kubectl


def dns_by_udp_alone(objects: Objects) -> None:
    rule = named(objects, "NetworkPolicy", "crisp-worker")["spec"]["egress"][0]
    rule["ports"] = [port for port in rule["ports"] if port["protocol"] == "UDP"]


def either_instead_of_both(objects: Objects) -> None:
    """The classic: namespace and pod as two items mean one or the other."""
    peers = named(objects, "NetworkPolicy", "elasticsearch")["spec"]["ingress"][0]["from"]
    peers.append({"namespaceSelector": {}})


def no_policy(objects: Objects) -> None:
    for entry in of_kind(objects, "NetworkPolicy"):
        if entry["metadata"]["name"] in {"elasticsearch", "default-deny-ingress"}:
            objects.remove(entry)


BROKEN: list[Case] = [
    ("Kibana shut to what it is to show", network.open_ways, no_peer("kibana", "ingress", 0, 1)),
    ("no DNS over TCP", network.open_ways, dns_by_udp_alone),
    ("the operator forgotten", network.open_ways, no_peer("elasticsearch", "ingress", 0, 2)),
    ("the workers forgotten", network.open_ways, no_peer("elasticsearch", "ingress", 0, 0)),
    (
        "KEDA forgotten",
        network.open_ways,
        lambda objects: named(objects, "Kafka", "logs")["spec"]["kafka"]["listeners"][0]["networkPolicyPeers"].pop(),
    ),
    (
        "no way to the API",
        network.open_ways,
        at("NetworkPolicy", "crisp-shipper", "spec", "egress", 1, "ports", to=[{"port": 80, "protocol": "TCP"}]),
    ),
    ("Elasticsearch for everybody", network.shut_ways, either_instead_of_both),
    ("Elasticsearch without a policy", network.shut_ways, no_policy),
    ("Kafka for everybody", network.shut_ways, at("NetworkPolicy", "crisp-worker", "spec", "egress", 1, to={})),
    (
        "a label misspelt",
        network.nobody,
        at("NetworkPolicy", "elasticsearch", "spec", "podSelector", to={"matchLabels": {"type": "elastic"}}),
    ),
    (
        "a peer that is nobody",
        network.nobody,
        at(
            "NetworkPolicy",
            "crisp-worker",
            "spec",
            "egress",
            1,
            "to",
            0,
            to={"podSelector": {"matchLabels": {"app": "kafka"}}},
        ),
    ),
    (
        "a port's name misspelt",
        network.named_ports,
        at("NetworkPolicy", "crisp-worker", "spec", "ingress", 0, "ports", 0, "port", to="metrics"),
    ),
]


@pytest.mark.parametrize(("check", "break_it"), [pytest.param(*case[1:], id=case[0]) for case in BROKEN])
def test_broken_objects_are_reported(check: Check, break_it: Break) -> None:
    assert faults(check, break_it)


def test_every_message_of_the_checks_is_provoked() -> None:
    assert {check for _, check, _ in BROKEN} == set(network.CHECKS)
    assert unsaid(network, {fault for _, check, break_it in BROKEN for fault in faults(check, break_it)}) == []
