"""Faults between what Kafka, KEDA and Elasticsearch are told and what crisp is told; each check says them."""

import re
from collections.abc import Iterator

import yaml

from pipeline.config.settings import Settings
from tests.deploy.manifests import Manifest, Objects, named, of_kind, title, workloads
from tests.deploy.workload_checks import effective_settings

GIB = 1 << 30
UNITS = {"Mi": 1 << 20, "Gi": GIB, "Ti": 1 << 40}
# What is left of a node for pods when kubelet, runtime and system have had theirs.
NODES = {"t3.large": 7.0 * GIB, "t3.xlarge": 14.5 * GIB}


def size(text: str) -> int:
    """Bytes of a quantity as Kubernetes writes it."""
    return int(float(text[:-2]) * UNITS[text[-2:]])


def effective(objects: Objects, name: str = "crisp-worker") -> Settings:
    """The settings as a part of ours finds them."""
    (workload,) = [entry for entry in workloads(objects) if entry["metadata"]["name"] == name]
    return effective_settings(objects, workload)


def topics(objects: Objects) -> Iterator[str]:
    """Topics that differ from those that `crisp setup` would make."""
    if not of_kind(objects, "KafkaTopic"):
        return
    have, key = effective(objects, "crisp-setup"), "message.timestamp.type"
    most = have.record_max_bytes
    raw, dead = named(objects, "KafkaTopic", have.topic_raw), named(objects, "KafkaTopic", have.topic_dead)
    for entry, name, told, wanted in (
        (raw, "partitions", raw["spec"]["partitions"], have.topic_partitions),
        (raw, "max.message.bytes", raw["spec"]["config"]["max.message.bytes"], most),
        (raw, "retention.ms", raw["spec"]["config"]["retention.ms"], int(have.topic_retention_seconds * 1000)),
        (raw, "retention.bytes", raw["spec"]["config"]["retention.bytes"], have.topic_retention_bytes),
        (raw, "compression.type", raw["spec"]["config"]["compression.type"], "producer"),
        (dead, "partitions", dead["spec"]["partitions"], 1),
        (dead, "max.message.bytes", dead["spec"]["config"]["max.message.bytes"], 2 * most),
        *((one, key, one["spec"]["config"].get(key), "LogAppendTime") for one in (raw, dead)),
        (dead, "retention.ms", dead["spec"]["config"]["retention.ms"], -1),
        *((one, "replicas", one["spec"]["replicas"], have.topic_replication) for one in (raw, dead)),
    ):
        if told != wanted:
            yield f"{title(entry)}: {name} is {told}, crisp says {wanted}"


def brokers(objects: Objects) -> Iterator[str]:
    """More replicas than brokers, a write that one lost broker stops, a disk too small for what is kept."""
    if not of_kind(objects, "Kafka"):
        return
    pool, kafka = named(objects, "KafkaNodePool", "dual"), named(objects, "Kafka", "logs")
    number, config = pool["spec"]["replicas"], kafka["spec"]["kafka"]["config"]
    insync = config["min.insync.replicas"]
    if number > 1 and not insync < number:
        yield f"{title(kafka)}: a lost broker stops every write"
    for key, value in config.items():
        if key.endswith("replication.factor") and value != number:
            yield f"{title(kafka)}: {key} is {value}, of {number} brokers"
    kept = 0
    for entry in of_kind(objects, "KafkaTopic"):
        if entry["spec"]["replicas"] > number:
            yield f"{title(entry)}: more replicas than brokers"
        if entry["spec"]["config"].get("min.insync.replicas", insync) != insync:
            yield f"{title(entry)}: other in-sync replicas than the cluster"
        kept += entry["spec"]["partitions"] * entry["spec"]["config"]["retention.bytes"]
    volume = pool["spec"]["storage"]["volumes"][0]
    if kept > 0.9 * size(volume["size"]):
        yield f"{title(pool)}: {volume['size']} do not hold the topics' {kept / GIB:.1f} GiB"
    if config.get("auto.create.topics.enable") is not False:
        yield f"{title(kafka)}: a misspelt topic would be made"


def connections(objects: Objects) -> Iterator[str]:
    """Addresses that are not those of the Kafka and Elasticsearch beside."""
    for kafka in of_kind(objects, "Kafka"):
        (listener,) = kafka["spec"]["kafka"]["listeners"]
        wanted = f"{kafka['metadata']['name']}-kafka-bootstrap.logging.svc:{listener['port']}"
        for name in ("crisp-shipper", "crisp-worker", "crisp-setup"):
            have = effective(objects, name)
            if have.kafka_address != wanted or have.kafka_tls is not listener["tls"]:
                yield f"{name}: Kafka is at {wanted}, not {have.kafka_address}"
    for entry in of_kind(objects, "Elasticsearch"):
        plain = entry["spec"].get("http", {}).get("tls", {}).get("selfSignedCertificate", {}).get("disabled", False)
        wanted = f"{'http' if plain else 'https'}://{entry['metadata']['name']}-es-http.logging.svc:9200"
        for name in ("crisp-worker", "crisp-setup"):
            have = effective(objects, name)
            if have.es_address != wanted or bool(have.es_ca_file) is plain:
                yield f"{name}: Elasticsearch is at {wanted}, not {have.es_address}"
    for entry in of_kind(objects, "Kibana"):
        plain = entry["spec"].get("http", {}).get("tls", {}).get("selfSignedCertificate", {}).get("disabled", False)
        wanted = f"{'http' if plain else 'https'}://{entry['metadata']['name']}-kb-http.logging.svc:5601"
        have = effective(objects, "crisp-kibana")
        if have.kibana_url != wanted or bool(have.kibana_ca_file) is plain:
            yield f"crisp-kibana: Kibana is at {wanted}, not {have.kibana_url}"


# Topic and operations that each part needs: enough, as tests/integration/test_kafka_rights.py shows.
NEEDS: dict[str, dict[tuple[str, str], set[str]]] = {
    "crisp-shipper": {("topic", "logs-raw"): {"Write", "Describe"}},
    "crisp-worker": {
        ("topic", "logs-raw"): {"Read", "Describe"},
        ("topic", "logs-dead"): {"Read", "Write", "Describe"},
        ("group", "crisp-worker"): {"Read", "Describe"},
    },
    "crisp-setup": {
        ("topic", "logs-raw"): {"Create", "Describe", "DescribeConfigs"},
        ("topic", "logs-dead"): {"Create", "Describe", "DescribeConfigs"},
    },
    "crisp-keda": {("topic", "logs-raw"): {"Describe"}, ("group", "crisp-worker"): {"Describe"}},
    "fluent-bit": {("topic", "logs-raw"): {"Write", "Describe"}},
}


def users(objects: Objects) -> Iterator[str]:
    """A user of Kafka with other rights than its part needs."""
    clusters = {entry["metadata"]["name"] for entry in of_kind(objects, "Kafka")}
    for entry in of_kind(objects, "KafkaUser"):
        have = {
            (acl["resource"]["type"], acl["resource"]["name"]): set(acl["operations"])
            for acl in entry["spec"]["authorization"]["acls"]
        }
        if have != NEEDS.get(entry["metadata"]["name"]):
            yield f"{title(entry)}: may {have}"
        if any(acl["resource"].get("patternType") != "literal" for acl in entry["spec"]["authorization"]["acls"]):
            yield f"{title(entry)}: has rights by pattern"
    for entry in of_kind(objects, "KafkaUser", "KafkaTopic", "KafkaNodePool"):
        if entry["metadata"]["labels"].get("strimzi.io/cluster") not in clusters:
            yield f"{title(entry)}: belongs to no Kafka"


def scaling(objects: Objects) -> Iterator[str]:
    """An autoscaler that looks elsewhere, or scales beyond what helps."""
    for entry in of_kind(objects, "ScaledObject"):
        have, spec = effective(objects), entry["spec"]
        (trigger,) = spec["triggers"]
        told = trigger["metadata"]
        wanted = {
            "topic": have.topic_raw,
            "consumerGroup": have.kafka_group,
            "bootstrapServers": have.kafka_address,
            "tls": "enable" if have.kafka_tls else "disable",
            "offsetResetPolicy": "earliest",
            "excludePersistentLag": "true",
            "allowIdleConsumers": "false",
        }
        for key, value in wanted.items():
            if told.get(key) != value:
                yield f"{title(entry)}: {key} is {told.get(key)}, not {value}"
        if trigger.get("useCachedMetrics") is not True:
            yield f"{title(entry)}: asked twice within a moment, a lag that shrinks would seem to stand"
        if not all(isinstance(value, str) for value in told.values()):
            yield f"{title(entry)}: metadata of a trigger are texts"
        if tuple(map(int, told.get("version", "1.0.0").split("."))) < (2, 0, 0):
            yield f"{title(entry)}: speaks a protocol that brokers from 4.0 on refuse"
        if have.topic_partitions % spec["maxReplicaCount"]:
            yield f"{title(entry)}: {spec['maxReplicaCount']} workers share {have.topic_partitions} partitions unevenly"
        named(objects, spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        authentication = named(objects, "TriggerAuthentication", trigger["authenticationRef"]["name"])
        known = {user["metadata"]["name"] for user in of_kind(objects, "KafkaUser")} | {"logs-cluster-ca-cert"}
        yield from (
            f"{title(authentication)}: there is no Secret {ref['name']}"
            for ref in authentication["spec"]["secretTargetRef"]
            if ref["name"] not in known
        )


def realm(objects: Objects) -> Iterator[str]:
    """Users and roles of Elasticsearch that do not fit together."""
    for entry in of_kind(objects, "Elasticsearch"):
        roles: set[str] = set()
        for ref in entry["spec"]["auth"]["roles"]:
            roles |= set(yaml.safe_load(named(objects, "Secret", ref["secretName"])["stringData"]["roles.yml"]))
        rendered = {one["spec"]["target"]["name"]: one for one in of_kind(objects, "ExternalSecret")}
        in_realm = {ref["secretName"] for ref in entry["spec"]["auth"]["fileRealm"]}
        for name, secret in rendered.items():
            data = secret["spec"]["target"]["template"]["data"]
            if secret["spec"]["target"]["template"].get("type") != "kubernetes.io/basic-auth":
                yield f"{title(secret)}: ECK takes it for a file of users"
            if name not in in_realm:
                yield f"{title(secret)}: is in no realm"
            if data["roles"] not in roles:
                yield f"{title(secret)}: there is no role {data['roles']}"
            if (data["ES_USER"], data["ES_PASSWORD"]) != (data["username"], data["password"]):
                yield f"{title(secret)}: crisp and Elasticsearch are told different things"
        if rendered and in_realm != set(rendered):
            yield f"{title(entry)}: nobody makes {sorted(in_realm - set(rendered))}"


def logging_node(objects: Objects) -> Iterator[str]:
    """What does not fit the node, what should be on it and is not, what is and should not."""
    total = 0
    for entry in of_kind(objects, "Elasticsearch", "Kibana"):
        spec = entry["spec"]
        template = (
            spec["nodeSets"][0]["podTemplate"]["spec"]
            if entry["kind"] == "Elasticsearch"
            else spec["podTemplate"]["spec"]
        )
        if template.get("nodeSelector") != {"workload": "logging"} or not template.get("tolerations"):
            yield f"{title(entry)}: does not go to the logging node"
        resources = template["containers"][0]["resources"]
        if resources["requests"]["memory"] != resources["limits"]["memory"]:
            yield f"{title(entry)}: is given memory that the node may not have"
        total += size(resources["limits"]["memory"])
    if total > max(NODES.values()):
        yield f"Elasticsearch and Kibana: {total / GIB:.1f} GiB fit no node that is named"
    for entry in of_kind(objects, "Deployment", "Job", "KafkaNodePool"):
        pod_template: Manifest = entry["spec"].get("template", {})
        pod: Manifest = pod_template.get("pod") or pod_template.get("spec", {})
        if pod.get("tolerations") or "logging" in str(pod.get("nodeSelector")) + str(pod.get("affinity")):
            yield f"{title(entry)}: may go to the logging node"


def versions(objects: Objects) -> Iterator[str]:
    """A Kibana newer than its Elasticsearch; an API that newer clusters do not serve."""
    by_name = {entry["metadata"]["name"]: entry["spec"]["version"] for entry in of_kind(objects, "Elasticsearch")}
    for entry in of_kind(objects, "Kibana"):
        behind = by_name.get(entry["spec"]["elasticsearchRef"]["name"])
        if behind is None:
            yield f"{title(entry)}: there is no such Elasticsearch"
        elif tuple(map(int, entry["spec"]["version"].split("."))) > tuple(map(int, behind.split("."))):
            yield f"{title(entry)}: is newer than Elasticsearch {behind}"
    for entry in objects:
        if re.fullmatch(r"kafka\.strimzi\.io/v1beta\d|policy/v1beta1|batch/v1beta1", entry["apiVersion"]):
            yield f"{title(entry)}: {entry['apiVersion']} is served no more"


def protection(objects: Objects) -> Iterator[str]:
    """Data that goes with an object deleted by mistake."""
    for entry in of_kind(objects, "StorageClass"):
        if entry.get("reclaimPolicy") != "Retain":
            yield f"{title(entry)}: a claim deleted is a disk deleted"
    for entry in of_kind(objects, "ExternalSecret"):
        if entry["spec"]["target"].get("deletionPolicy") != "Retain":
            yield f"{title(entry)}: a parameter deleted is a worker stopped"
    for entry in of_kind(objects, "Elasticsearch", "Kafka", "KafkaNodePool", "KafkaTopic", "Namespace"):
        if entry["metadata"]["name"] == "logging-agents":
            continue  # it holds nothing
        options = entry["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-options", "")
        if not {"Prune=false", "Delete=false"} <= set(options.split(",")):
            yield f"{title(entry)}: Argo CD would delete it with what it holds"
        if entry["kind"] == "Elasticsearch" and entry["spec"].get("volumeClaimDeletePolicy") != "DeleteOnScaledownOnly":
            yield f"{title(entry)}: its volumes go with it"
        if entry["kind"] == "KafkaNodePool" and any(row["deleteClaim"] for row in entry["spec"]["storage"]["volumes"]):
            yield f"{title(entry)}: its volumes go with it"


WAVES = ("Namespace", "ExternalSecret", "Elasticsearch", "KafkaTopic", "Job", "Deployment", "DaemonSet")


def waves(objects: Objects) -> Iterator[str]:
    """What Argo CD would apply before what it needs."""
    before = -100
    for kind in WAVES:
        found = [
            int(entry["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))
            for entry in of_kind(objects, kind)
            if entry["metadata"].get("annotations", {}).get("argocd.argoproj.io/hook") != "PostSync"
        ]
        if found and min(found) <= before:
            yield f"{kind}: wave {min(found)} is not after {before}"
        before = max([before, *found])


CHECKS = (topics, brokers, connections, users, scaling, realm, logging_node, versions, protection, waves)
