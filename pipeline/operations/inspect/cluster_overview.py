"""Overview of a cluster's shippers and workers by the Kubernetes API alone: no connection to Kafka or Elasticsearch.

Consumer lag and the state of Elasticsearch are those that the workers report. A pod that is missing, not running, not
ready or not readable is a problem.
"""

from collections.abc import Sequence

from pipeline.errors import KubernetesError
from pipeline.kubernetes.client import ApiClient
from pipeline.monitoring import worker_problems
from pipeline.monitoring.problem import Problem, critical, warning
from pipeline.monitoring.worker_status import WorkerStatus
from pipeline.operations.inspect import overview
from pipeline.operations.inspect.fleet import Process, UnknownProcess
from pipeline.operations.inspect.overview import (
    ElasticsearchOverview,
    KafkaOverview,
    Overview,
    PartitionOffsets,
    SourcedProblem,
)
from pipeline.operations.inspect.pod_proxy import (
    CONTROLLERS,
    SELECTOR,
    CrispPod,
    Inspection,
    describe_unread,
    inspect_cluster,
)

RUNBOOK = "instance-down"


def gather(client: ApiClient, namespaces: Sequence[str]) -> Overview:
    """Return the overview of the pods in some namespaces, or in all if none is given."""
    return summarise(inspect_cluster(client, namespaces), namespaces)


def summarise(inspection: Inspection, namespaces: Sequence[str]) -> Overview:
    """Return the overview of an inspection."""
    processes: list[Process | UnknownProcess] = [
        Process(pod.title, status) for pod, status in inspection.statuses.items()
    ]
    problems = [_with_source(problem, "Kubernetes") for problem in find_problems(inspection, namespaces)]
    for pod in inspection.pods:
        if error := inspection.unread.get(pod):
            processes.append(UnknownProcess(f"{pod.kind} {pod.title}", describe_unreachable(pod, error)))
        elif problem := pod_problem(pod):
            problems.append(_with_source(problem, f"{pod.kind} {pod.title}"))
    workers = [status for status in inspection.statuses.values() if isinstance(status, WorkerStatus)]
    return overview.assemble(processes, _lag(workers), ElasticsearchOverview(_elasticsearch(workers)), problems)


def find_problems(inspection: Inspection, namespaces: Sequence[str]) -> list[Problem]:
    """Return the problems of the whole: what cannot be listed, and which pods are missing."""
    where = describe_scope(namespaces)
    problems = []
    for resource, error in inspection.errors.items():
        if resource == "pods":
            problems.append(critical(f"Cannot list pods in {where}: {error}", RUNBOOK))
        else:
            problems.append(warning(f"Cannot compare with the desired number of pods: {error}", RUNBOOK))
    if "pods" in inspection.errors:
        return problems
    for kind, resource in CONTROLLERS.items():
        desired, present = inspection.desired[kind], count_present(inspection, kind)
        if desired is None and not present:
            problems.append(critical(f"No {kind} in {where}: no pod has the label {SELECTOR}.", RUNBOOK))
        elif desired is None and resource not in inspection.errors:
            problems.append(warning(f"The {kind}s belong to none of the {resource} in {where}.", RUNBOOK))
        elif desired is not None and present < desired:
            problems.append(missing(kind, desired, present))
    return problems


def missing(kind: str, desired: int, present: int) -> Problem:
    """Return the problem that pods do not exist."""
    if kind == "shipper":
        message = f"{desired - present} of {desired} nodes have no shipper: their lines are not read."
        return critical(message, RUNBOOK)
    message = f"{desired - present} of {desired} workers do not exist."
    return warning(message, RUNBOOK) if present else critical(f"{message} Nothing is indexed.", RUNBOOK)


def count_present(inspection: Inspection, kind: str) -> int:
    """Return how many pods of a kind exist and are neither ended nor terminating."""
    return sum(
        pod.kind == kind and not pod.terminating and pod.phase in {"Pending", "Running", "Unknown"}
        for pod in inspection.pods
    )


def describe_scope(namespaces: Sequence[str]) -> str:
    """Return where pods are searched, for messages."""
    if not namespaces:
        return "all namespaces"
    return f"the namespace{'s' if len(namespaces) > 1 else ''} {', '.join(namespaces)}"


def pod_problem(pod: CrispPod) -> Problem | None:
    """Return the problem of a pod's state in Kubernetes; None if it runs and is ready."""
    reason = f": {pod.reason}" if pod.reason else ""
    if pod.phase in {"Failed", "Succeeded"}:
        return warning(f"The pod has ended{_on_node(pod)}{reason}.", RUNBOOK)
    if pod.terminating:
        return warning(f"The pod is terminating{_on_node(pod)}.", RUNBOOK)
    if not pod.running:
        message = f"The pod does not run{_on_node(pod)} ({pod.phase}){reason}."
        return critical(message, RUNBOOK) if pod.kind == "shipper" else warning(message, RUNBOOK)
    return None if pod.ready else warning(f"The pod is not ready{_on_node(pod)}{reason}.", RUNBOOK)


def describe_unreachable(pod: CrispPod, error: KubernetesError) -> str:
    """Return the message for a running pod whose status could not be read."""
    return f"Unreachable{_on_node(pod)}: {describe_unread(error)}."


def _on_node(pod: CrispPod) -> str:
    return f" on the node {pod.node}" if pod.node else ""


def _with_source(problem: Problem, source: str) -> SourcedProblem:
    return SourcedProblem(problem.severity, problem.message, problem.runbook, source)


def _lag(workers: list[WorkerStatus]) -> KafkaOverview:
    """Return the lag of the partitions that the workers have; unknown if one worker does not know its lag."""
    if not workers or any(worker_problems.is_lag_unknown(worker) for worker in workers):
        return KafkaOverview("as the workers report")
    rows = tuple(row for worker in workers for row in worker.lag)
    return KafkaOverview(
        "as the workers report",
        sum(row.records for row in rows),
        worker_problems.oldest_seconds(rows),
        tuple(
            PartitionOffsets(row.partition, row.records, row.seconds, row.committed, row.end, row.log_start)
            for row in rows
        ),
    )


def _elasticsearch(workers: list[WorkerStatus]) -> str:
    if not workers:
        return "unknown: no worker's status could be read"
    connections = [worker.elasticsearch for worker in workers]
    good = sum(not (connection.index_problem or connection.failing_since) for connection in connections)
    return f"accepts documents of {good} of {len(workers)} workers"
