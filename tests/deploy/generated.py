"""Manifests made from the code: Elasticsearch's roles, the StackConfigPolicy setup's objects, alerts, dashboard.

`python -m tests.deploy.generated` writes them anew; a test compares.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.settings import Settings
from pipeline.elasticsearch import index_template, lifecycle_policy, roles
from pipeline.elasticsearch.index_template import Unsupported
from tests.deploy import alerts, dashboard

COMPONENTS = Path(__file__).parent.parent.parent / "deploy" / "components"
# Of the version in components/elasticsearch-eck; a newer server lacks nothing, and `crisp setup` then adds it.
LACKING_8_11 = Unsupported(settings=frozenset({"index.mapping.total_fields.ignore_dynamic_beyond_limit"}))
KIBANA = "http://logs-kb-http.logging.svc:5601"  # of components/kibana-eck; that there is one is what gives a right
_HEADER = "# Made from the code by `make docs`; not by hand.\n"


class _Text(str):
    """Written as a block of lines."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _: Any) -> bool:
        return True


_Dumper.add_representer(_Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))


def roles_secret() -> dict[str, Any]:
    """The Secret of which ECK makes the roles file."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata("crisp-elasticsearch-roles", "10"),
        "stringData": {"roles.yml": _Text(_dump(roles.all_roles(Settings(kibana_url=KIBANA))))},
    }


def stack_config_policy() -> dict[str, Any]:
    """The same lifecycle policies and templates as setup's, kept by the operator."""
    settings = Settings()
    templates = index_template.all_templates(settings)
    return {
        "apiVersion": "stackconfigpolicy.k8s.elastic.co/v1alpha1",
        "kind": "StackConfigPolicy",
        "metadata": _metadata("crisp", "22"),
        "spec": {
            "resourceSelector": {"matchLabels": {"logs.crisp/stack-config": "crisp"}},
            "elasticsearch": {
                # Without the REST API's outer "policy".
                "indexLifecyclePolicies": {
                    one.policy: lifecycle_policy.body(one.days)["policy"] for one in templates if one.policy
                },
                "indexTemplates": {
                    "composableIndexTemplates": {
                        one.name: index_template.body(one, settings, LACKING_8_11) for one in templates
                    }
                },
            },
        },
    }


def _metadata(name: str, wave: str) -> dict[str, Any]:
    return {"name": name, "namespace": "logging", "annotations": {"argocd.argoproj.io/sync-wave": wave}}


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=150, default_flow_style=None)


MADE: dict[Path, Callable[[], dict[str, Any]]] = {
    COMPONENTS / "elasticsearch-eck" / "roles.yaml": roles_secret,
    COMPONENTS / "stack-config-policy" / "policy.yaml": stack_config_policy,
    COMPONENTS / "monitoring" / "alerts.yaml": alerts.rules,
    COMPONENTS / "monitoring" / "dashboard.json": dashboard.dashboard,
}


def text(path: Path) -> str:
    """What a made file must say."""
    if path.suffix == ".json":
        return json.dumps(MADE[path](), indent=1) + "\n"
    return _HEADER + _dump(MADE[path]())


if __name__ == "__main__":
    for made in MADE:
        made.write_text(text(made))
