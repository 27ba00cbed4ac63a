"""The least rights that each part of crisp needs in Elasticsearch, as its security API and its roles file take them.

Pure data: `crisp setup --roles` prints it, deployments make their roles of it. The worker can add documents, never
change or delete one: a document that is there stays as it was written.
"""

from typing import Any

from pipeline.config.settings import Settings
from pipeline.elasticsearch import index_template

Role = dict[str, Any]


def all_roles(settings: Settings) -> dict[str, Role]:
    """Every role, by the name that it is to have."""
    names = index_template.index_patterns(settings)
    return {
        # `monitor`: to see that the index template stands before the first document of a day.
        "crisp_worker": _make_role(
            ["monitor"], names, ["create_doc", "auto_configure", "create_index", "view_index_metadata", "read"]
        ),
        "crisp_setup": {
            **_make_role(["monitor", "manage_index_templates", "manage_ilm"], names, ["view_index_metadata"]),
            **_kibana_privileges(settings),
        },
        "crisp_audit": _make_role(["monitor"], names, ["read", "view_index_metadata"]),
    }


def _make_role(cluster: list[str], names: list[str], privileges: list[str]) -> Role:
    return {"cluster": cluster, "indices": [{"names": names, "privileges": privileges}]}


def _kibana_privileges(settings: Settings) -> Role:
    """In Kibana, where one is named: the saved objects of its one space. To Elasticsearch that is an application."""
    if not settings.kibana_url:
        return {}
    space = f"space:{settings.kibana_space or 'default'}"
    entry = {
        "application": "kibana-.kibana",
        "privileges": ["feature_savedObjectsManagement.all"],
        "resources": [space],
    }
    return {"applications": [entry]}
