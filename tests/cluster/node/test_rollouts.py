"""The shipper rolled out again and again, and the node without power, under load: no line lost, no false gap."""

import time

import pytest

from tests.cluster.node import crisp, workloads
from tests.cluster.node.node import Node
from tests.cluster.node.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
ROLLOUTS, REBOOTS = 10, 5


def apply_load(node: Node) -> None:
    """Pods that write all the time, with init containers; a crash loop; pods that come and go."""
    steady = workloads.container("app", "steady", 10**7, "150,300", 30, "stay", "last-words")
    init = tuple(workloads.container(name, name, 5, "80", 0) for name in ("migrate", "fetch"))
    node.apply(
        workloads.deployment("steady", 4, workloads.pod_template({}, steady, init=init)),
        workloads.deployment("loop", 1, workloads.pod_template({}, _crashing())),
    )
    node.kubectl("-n", "load", "rollout", "status", "deployment/steady", "--timeout=180s")


def _crashing() -> dict[str, object]:
    return workloads.container("app", "loop", 20, "120", 0, "unended", "exit=1")


def roll_out(node: Node) -> float:
    """Replace the shipper's pod; return after how many seconds the new one is ready."""
    started = time.monotonic()
    node.kubectl("-n", "logging", "rollout", "restart", "daemonset/crisp-shipper")
    node.kubectl("-n", "logging", "rollout", "status", "daemonset/crisp-shipper", "--timeout=180s")
    return time.monotonic() - started


@pytest.mark.short
def test_rollout_of_the_shipper_loses_nothing(scene: Scene) -> None:
    apply_load(scene.node)
    with scene.judged("rollout of the DaemonSet, pods replaced meanwhile") as notes:
        scene.node.kubectl("-n", "load", "rollout", "restart", "deployment/steady")
        notes.append(f"{roll_out(scene.node):.0f} s")
        time.sleep(5)


def test_ten_rollouts_of_the_shipper_lose_nothing(scene: Scene) -> None:
    apply_load(scene.node)
    with scene.judged(f"{ROLLOUTS} rollouts of the DaemonSet, pods replaced meanwhile") as notes:
        seconds = []
        for _ in range(ROLLOUTS):
            scene.node.kubectl("-n", "load", "rollout", "restart", "deployment/steady")
            seconds.append(roll_out(scene.node))
            time.sleep(3)
        notes.append(f"{min(seconds):.0f}-{max(seconds):.0f} s each")


def reboot(scene: Scene, times: int) -> None:
    """Cut the node's power, start it again, and wait until everything runs."""
    for _ in range(times):
        scene.cut_power()
        scene.node.start()
        scene.node.kubectl("-n", "load", "rollout", "status", "deployment/steady", "--timeout=180s")
        crisp.wait_rolled_out(scene.node)
        time.sleep(20)  # so that kubelet and shipper have seen each other's work


@pytest.mark.short
def test_power_cut_of_the_node_loses_nothing(scene: Scene) -> None:
    apply_load(scene.node)
    time.sleep(10)
    with scene.judged("power cut of the node"):
        reboot(scene, 1)


def test_five_power_cuts_of_the_node_lose_nothing(scene: Scene) -> None:
    apply_load(scene.node)
    with scene.judged(f"{REBOOTS} power cuts of the node"):
        reboot(scene, REBOOTS)
