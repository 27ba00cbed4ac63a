"""Component stack-config-policy on a real Elasticsearch, as the file settings that ECK's operator makes of it."""

import asyncio
import json
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.elastic.client import connect
from pipeline.elastic.installation import Installation
from pipeline.local import elasticsearch
from pipeline.local.process import free_ports
from pipeline.settings import Settings
from tests.deploy.manifests import component, named, needs_kubectl
from tests.integration.flow import eventually

pytestmark = [needs_kubectl, pytest.mark.k8s, pytest.mark.timeout(600)]


class Node(NamedTuple):
    """One Elasticsearch, and where its file settings are."""

    url: str
    config: Path


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return component("stack-config-policy")


@pytest.fixture
def node(objects: list[dict[str, Any]]) -> Iterator[Node]:
    version = named(objects, "Elasticsearch", "logs")["spec"]["version"]
    directory = Path(tempfile.mkdtemp(prefix="crisp-stack-config-"))
    directory.chmod(0o755)
    port, transport = free_ports(2)
    server = elasticsearch.start(directory, version, port, transport)
    try:
        server.wait(lambda: elasticsearch.healthy(f"http://127.0.0.1:{port}"), elasticsearch.START_SECONDS)
        yield Node(f"http://127.0.0.1:{port}", directory / f"elasticsearch-{version}" / "config")
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def ask(node: Node, path: str) -> Any:
    with urllib.request.urlopen(f"{node.url}/{path}", timeout=10) as answer:
        return json.load(answer)


def apply(node: Node, policy: dict[str, Any]) -> None:
    """What the operator writes for its policy; the node sees it by itself."""
    spec = policy["spec"]["elasticsearch"]
    templates = {"composable_index_templates": spec["indexTemplates"]["composableIndexTemplates"]}
    state = {"ilm": spec["indexLifecyclePolicies"], "index_templates": templates}
    settings = {"metadata": {"version": "1", "compatibility": "8.4.0"}, "state": state}
    (node.config / "operator").mkdir()
    (node.config / "operator" / "new.json").write_text(json.dumps(settings))
    (node.config / "operator" / "new.json").rename(node.config / "operator" / "settings.json")


def reserved(node: Node) -> set[str]:
    """What nobody but the operator may change; fails the test with what the node says against its file."""
    metadata = ask(node, "_cluster/state/metadata?filter_path=metadata.reserved_state").get("metadata", {})
    kept = metadata.get("reserved_state", {}).get("file_settings", {})
    assert not kept.get("errors"), kept["errors"]
    return {key for rows in kept.get("handlers", {}).values() for key in rows["keys"]}


def set_up(node: Node) -> str:
    async def run() -> list[str]:
        settings = Settings(es_urls=node.url)
        client = connect(settings)
        try:
            return await Installation(client, settings).run()
        finally:
            await client.close()

    return "\n".join(asyncio.run(run()))


@pytest.mark.parametrize("first", ["policy", "setup"])
def test_the_policy_is_taken_and_setup_leaves_it_be(node: Node, objects: list[dict[str, Any]], first: str) -> None:
    if first == "setup":
        assert "index template crisp-logs: put" in set_up(node)
    apply(node, named(objects, "StackConfigPolicy", "crisp"))
    eventually(lambda: len(reserved(node)) >= 4, 30)
    assert set(ask(node, "_ilm/policy")) >= {"crisp-logs", "crisp-logs-infra"}

    said = set_up(node)

    assert "lifecycle policy crisp-logs: is there already, deletes after 14 days" in said
    assert "index template crisp-logs: is there already" in said
    assert "drifted" not in said


def test_what_the_policy_keeps_nobody_else_changes(node: Node, objects: list[dict[str, Any]]) -> None:
    apply(node, named(objects, "StackConfigPolicy", "crisp"))
    eventually(lambda: len(reserved(node)) >= 4, 30)
    request = urllib.request.Request(f"{node.url}/_index_template/crisp-logs", method="DELETE")

    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=10)
