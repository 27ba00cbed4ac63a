"""The lives that containers have on a node: each line of each is indexed once."""

import time

import pytest

from tests.cluster.node import crisp, workloads
from tests.cluster.node.node import wait_for
from tests.cluster.node.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.mark.short
def test_every_life_of_a_container_is_indexed_whole(scene: Scene) -> None:
    """Deployments with init containers and sidecars, crash loops, jobs with TTL 0, last words, OOM, both streams."""
    node = scene.node
    with scene.judged("life: init, sidecar, crash loop, jobs with TTL 0, OOM, last words"):
        main = workloads.container("app", "main", 2000, "200", 200, "stay", "last-words")
        side = workloads.container("side", "side", 300, "100", 30, "stderr", "stay")
        init = workloads.container("init", "init", 5, "80", 0)
        native = {**workloads.container("native", "native", 100, "90", 20, "stay"), "restartPolicy": "Always"}
        node.apply(
            workloads.deployment("web", 2, workloads.pod_template({}, main, side, init=(init, native))),
            workloads.deployment("crash", 2, workloads.pod_template({}, _crashing())),
            *(workloads.job(f"quick-{n}", workloads.pod_template({"app": "quick"}, _quick(n))) for n in range(5)),
            workloads.pod("oom", workloads.pod_template({"app": "oom"}, _greedy(), restartPolicy="Never")),
            workloads.pod("unended", workloads.pod_template({"app": "unended"}, _unended(), restartPolicy="Never")),
        )
        node.kubectl("-n", "load", "rollout", "status", "deployment/web", "--timeout=120s")
        time.sleep(15)
        node.kubectl("-n", "load", "rollout", "restart", "deployment/web")
        node.kubectl("-n", "load", "rollout", "status", "deployment/web", "--timeout=120s")


def _crashing() -> dict[str, object]:
    return workloads.container("app", "crash", 20, "120", 0, "unended", "exit=1")


def _quick(number: int) -> dict[str, object]:
    return workloads.container("app", f"quick-{number}", 10, "100", 0, "unended")


def _unended() -> dict[str, object]:
    return workloads.container("app", "unended", 30, "40000,16383,16384,16385,100", 20, "unended")


def _greedy() -> dict[str, object]:
    container = workloads.container("app", "oom", 10, "100", 0, "stay")
    container["command"][2] = container["command"][2].replace('while "stay"', 'x = b"x" * (1 << 30)\nwhile "stay"')
    return {**container, "resources": {"limits": {"memory": "64Mi"}}}


@pytest.mark.short
def test_last_words_of_a_crash_are_searchable_at_once(scene: Scene) -> None:
    name = f"words-{time.time_ns()}"
    last = workloads.container("app", name, 1, "100", 0, "unended", "exit=3")
    scene.node.apply(workloads.pod(name, workloads.pod_template({"app": "words"}, last, restartPolicy="Never")))
    wait_for(
        "the end of the pod",
        lambda: scene.node.get("-n", "load", "pod", name)["status"]["phase"] == "Failed",
        seconds=60,
    )
    query = {"query": {"bool": {"filter": [{"term": {"kubernetes.pod.name": name}}]}}}
    seconds = wait_for(
        "its last words", lambda: scene.node.request("POST", "/logs-*/_count", query)["count"] == 2, seconds=30
    )
    with scene.judged("life: last words without newline", f"searchable {seconds:.1f} s after the pod was Failed"):
        assert seconds < 20


@pytest.mark.parametrize("force", [False, True])
def test_pods_deleted_while_they_write_are_indexed(scene: Scene, force: bool) -> None:  # noqa: FBT001
    node, prefix = scene.node, f"{'forced' if force else 'ended'}-{time.time_ns()}"
    template = workloads.pod_template({"app": prefix}, workloads.container("app", "w", 100_000, "150", 300))
    with scene.judged(f"life: 10 pods {'deleted by force' if force else 'deleted'} while they write"):
        node.apply(*(workloads.pod(f"{prefix}-{number}", template) for number in range(10)))
        node.kubectl("-n", "load", "wait", "--for=condition=Ready", "pod", "-l", f"app={prefix}", "--timeout=120s")
        time.sleep(5)
        options = ("--grace-period=0", "--force") if force else ()
        node.kubectl("-n", "load", "delete", "pod", "-l", f"app={prefix}", *options)


def test_pods_of_two_seconds_are_indexed(scene: Scene) -> None:
    template = workloads.pod_template({"app": "brief"}, workloads.container("app", "brief", 20, "100", 10))
    with scene.judged("life: 30 Jobs of two seconds with TTL 0"):
        prefix = f"brief-{time.time_ns()}"
        scene.node.apply(*(workloads.job(f"{prefix}-{number}", template) for number in range(30)))
        wait_for(
            "the Jobs' end",
            lambda: (
                not any(
                    job["metadata"]["name"].startswith(prefix) for job in scene.node.get("-n", "load", "jobs")["items"]
                )
            ),
            seconds=180,
            pause=2,
        )


def test_memory_stays_within_the_limits_of_the_manifests(scene: Scene) -> None:
    burst = workloads.pod_template({"app": "burst"}, workloads.container("app", "burst", 100_000, "150", 0, "stay"))
    with scene.judged("limits: a burst of 100,000 lines"):
        name = f"burst-{time.time_ns()}"
        scene.node.apply(workloads.pod(name, burst))
        scene.node.kubectl("-n", "load", "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    restarts = [
        status["restartCount"]
        for pod in scene.node.get("-n", "logging", "pods", "-l", "app.kubernetes.io/part-of=crisp")["items"]
        for status in pod["status"]["containerStatuses"]
        if status["name"] in crisp.peak_memory(scene.node)
    ]
    assert sum(restarts) == 0
