"""Each check of the stores finds one place broken in a sound manifest."""

import pytest

from tests.deploy import store_checks as store
from tests.deploy.breaking import (
    CONTAINER,
    NODE_SET,
    Break,
    Case,
    Check,
    at,
    faults,
    in_config,
    in_pod,
    in_trigger,
    in_worker,
    without,
)
from tests.deploy.manifests import named, needs_kubectl
from tests.deploy.unsaid import unsaid

pytestmark = needs_kubectl


BROKEN: list[Case] = [
    (
        "the producer's time",
        store.topics,
        at("KafkaTopic", "logs-raw", "spec", "config", "message.timestamp.type", to="CreateTime"),
    ),
    ("other partitions", store.topics, at("KafkaTopic", "logs-raw", "spec", "partitions", to=6)),
    ("records too long", store.topics, at("KafkaTopic", "logs-raw", "spec", "config", "max.message.bytes", to=1048588)),
    ("a retention of its own", store.topics, in_config(CRISP_TOPIC_RETENTION_SECONDS="86400")),
    ("a size of its own", store.topics, in_config(CRISP_TOPIC_RETENTION_BYTES="1GiB")),
    ("more replicas than brokers", store.brokers, at("KafkaTopic", "logs-raw", "spec", "replicas", to=4)),
    ("a disk too small", store.brokers, at("KafkaTopic", "logs-raw", "spec", "config", "retention.bytes", to=4 << 30)),
    (
        "no broker may be lost",
        store.brokers,
        at("Kafka", "logs", "spec", "kafka", "config", "min.insync.replicas", to=3),
    ),
    (
        "topics by mistake",
        store.brokers,
        at("Kafka", "logs", "spec", "kafka", "config", "auto.create.topics.enable", to=True),
    ),
    (
        "a replica fewer than brokers",
        store.brokers,
        at("Kafka", "logs", "spec", "kafka", "config", "offsets.topic.replication.factor", to=1),
    ),
    ("another listener", store.connections, at("Kafka", "logs", "spec", "kafka", "listeners", 0, "port", to=9092)),
    ("plain to a broker with TLS", store.connections, in_config(CRISP_KAFKA_TLS="false")),
    (
        "plain to an Elasticsearch with TLS",
        store.connections,
        in_config(CRISP_ES_URLS="http://logs-es-http.logging.svc:9200"),
    ),
    (
        "plain to a Kibana with TLS",
        store.connections,
        in_pod("Job", "crisp-kibana", *CONTAINER, "env", 0, "value", to="http://logs-kb-http.logging.svc:5601"),
    ),
    ("another cluster's name", store.connections, at("Elasticsearch", "logs", "metadata", "name", to="search")),
    (
        "a shipper that may read",
        store.users,
        at(
            "KafkaUser",
            "crisp-shipper",
            "spec",
            "authorization",
            "acls",
            0,
            "operations",
            to=["Read", "Write", "Describe"],
        ),
    ),
    (
        "rights by pattern",
        store.users,
        at("KafkaUser", "crisp-worker", "spec", "authorization", "acls", 0, "resource", "patternType", to="prefix"),
    ),
    (
        "a user of another cluster",
        store.users,
        at("KafkaUser", "crisp-worker", "metadata", "labels", to={"strimzi.io/cluster": "other"}),
    ),
    ("the lag of another topic", store.scaling, in_trigger(topic="logs-row")),
    ("the lag of another group", store.scaling, in_trigger(consumerGroup="log-worker")),
    (
        "KEDA's old protocol",
        store.scaling,
        lambda objects: named(objects, "ScaledObject", "crisp-worker")["spec"]["triggers"][0]["metadata"].pop(
            "version"
        ),
    ),
    (
        "a lag that seems to stand",
        store.scaling,
        at("ScaledObject", "crisp-worker", "spec", "triggers", 0, "useCachedMetrics", to=False),
    ),
    ("a number for a text", store.scaling, in_trigger(lagThreshold=5000)),
    ("scaled up for a lag that stands", store.scaling, in_trigger(excludePersistentLag="false")),
    (
        "more workers than partitions",
        store.scaling,
        at("ScaledObject", "crisp-worker", "spec", "maxReplicaCount", to=24),
    ),
    ("an uneven share", store.scaling, at("ScaledObject", "crisp-worker", "spec", "maxReplicaCount", to=5)),
    ("KEDA's user left out", store.scaling, without("KafkaUser", "crisp-keda")),
    (
        "a role that is none",
        store.realm,
        at("ExternalSecret", "crisp-elasticsearch", "spec", "target", "template", "data", "roles", to="superuser"),
    ),
    (
        "another name for Elasticsearch",
        store.realm,
        at("ExternalSecret", "crisp-elasticsearch", "spec", "target", "template", "data", "username", to="elastic"),
    ),
    (
        "a Secret of no type",
        store.realm,
        at("ExternalSecret", "crisp-elasticsearch", "spec", "target", "template", "type", to="Opaque"),
    ),
    (
        "a user in no realm",
        store.realm,
        at("Elasticsearch", "logs", "spec", "auth", "fileRealm", to=[{"secretName": "crisp-elasticsearch"}]),
    ),
    ("a secret that nobody makes", store.realm, without("ExternalSecret", "crisp-elasticsearch-audit")),
    ("Elasticsearch anywhere", store.logging_node, at("Elasticsearch", "logs", *NODE_SET, "nodeSelector", to={})),
    (
        "memory that no node has",
        store.logging_node,
        at(
            "Elasticsearch",
            "logs",
            *NODE_SET,
            "containers",
            0,
            "resources",
            to={"requests": {"memory": "16Gi"}, "limits": {"memory": "16Gi"}},
        ),
    ),
    (
        "memory that is hoped for",
        store.logging_node,
        at("Elasticsearch", "logs", *NODE_SET, "containers", 0, "resources", "requests", "memory", to="1Gi"),
    ),
    ("a worker on the logging node", store.logging_node, in_worker("tolerations", to=[{"operator": "Exists"}])),
    ("Kibana ahead", store.versions, at("Kibana", "logs", "spec", "version", to="8.19.0")),
    (
        "Kibana of another cluster",
        store.versions,
        at("Kibana", "logs", "spec", "elasticsearchRef", to={"name": "search"}),
    ),
    ("Strimzi's old API", store.versions, at("Kafka", "logs", "apiVersion", to="kafka.strimzi.io/v1beta2")),
    ("data that Argo CD prunes", store.protection, at("Elasticsearch", "logs", "metadata", "annotations", to={})),
    (
        "a namespace that Argo CD deletes",
        store.protection,
        at("Namespace", "logging", "metadata", "annotations", to={}),
    ),
    ("disks that go", store.protection, at("StorageClass", "gp3", "reclaimPolicy", to="Delete")),
    (
        "passwords that go",
        store.protection,
        at("ExternalSecret", "crisp-elasticsearch", "spec", "target", "deletionPolicy", to="Delete"),
    ),
    (
        "volumes that go",
        store.protection,
        at("KafkaNodePool", "dual", "spec", "storage", "volumes", 0, "deleteClaim", to=True),
    ),
    (
        "Elasticsearch's volumes that go",
        store.protection,
        at("Elasticsearch", "logs", "spec", "volumeClaimDeletePolicy", to="DeleteOnScaledownAndClusterDeletion"),
    ),
    ("a worker before its topics", store.waves, at("Deployment", "crisp-worker", "metadata", "annotations", to={})),
]


@pytest.mark.parametrize(("check", "break_it"), [pytest.param(*case[1:], id=case[0]) for case in BROKEN])
def test_broken_objects_are_reported(check: Check, break_it: Break) -> None:
    assert faults(check, break_it)


def test_every_message_of_the_checks_is_provoked() -> None:
    assert {check for _, check, _ in BROKEN} == set(store.CHECKS)
    assert unsaid(store, {fault for _, check, break_it in BROKEN for fault in faults(check, break_it)}) == []
