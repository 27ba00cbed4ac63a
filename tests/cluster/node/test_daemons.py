"""Each daemon killed under load, one after the other: no line lost or doubled, no false gap."""

import time

import pytest

from tests.cluster.node.node import Node
from tests.cluster.node.scene import Scene
from tests.cluster.node.test_rollouts import apply_load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", ["shipper", "worker"])
def test_crisp_killed_loses_nothing(scene: Scene, name: str) -> None:
    apply_load(scene.node)
    with scene.judged(f"daemons: {name} killed three times"):
        for _ in range(3):
            scene.node.execute("pkill", "-KILL", "-f", f"crisp {name.replace('shipper', 'ship')}")
            time.sleep(12)


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
def test_program_of_the_node_killed_loses_nothing(scene: Scene, program: str) -> None:
    apply_load(scene.node)
    with scene.judged(f"daemons: {program} killed twice, away for eight seconds"):
        for _ in range(2):
            scene.node.kill(program)
            time.sleep(8)
            scene.node.restart(program)
            time.sleep(10)


@pytest.mark.parametrize("server", ["kafka", "elasticsearch"])
def test_server_killed_loses_nothing(scene: Scene, server: str) -> None:
    apply_load(scene.node)
    with scene.judged(f"daemons: {server} killed, away for twenty seconds"):
        scene.node.command_servers(f"kill {server}")
        time.sleep(20)
        scene.node.command_servers(f"start {server}")
        _let_recover(scene.node)


def _let_recover(node: Node) -> None:
    node.kubectl("-n", "logging", "rollout", "status", "deployment/crisp-worker", "--timeout=180s")
