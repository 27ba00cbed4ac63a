"""The least privileges that each part of crisp needs, in the format of Elasticsearch's security API and roles file.

Pure data: `crisp setup --roles` prints it, deployments create their roles from it. The worker can create documents,
but never change or delete one: an existing document stays as it was written.
"""

from pipeline.config.settings import KibanaSettings, Settings
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch import index_template

Role = JsonObject


def all_roles(settings: Settings) -> dict[str, Role]:
    """Return every role by its name."""
    names = index_template.index_patterns(settings)
    # `monitor`: to check that the index template exists before the first document of a day.
    worker = _make_role(
        ["monitor"], names, ["create_doc", "auto_configure", "create_index", "view_index_metadata", "read"]
    )
    # Of routes that were removed: what was indexed there before a crash is looked up, so that it is not doubled.
    worker["indices"].append(
        {"names": [f"{settings.index_prefix}-*.20*"], "privileges": ["view_index_metadata", "read"]}
    )
    return {
        "crisp_worker": worker,
        "crisp_setup": {
            **_make_role(["monitor", "manage_index_templates", "manage_ilm"], names, ["view_index_metadata"]),
            **_kibana_privileges(settings),
        },
        "crisp_audit": _make_role(["monitor"], names, ["read", "view_index_metadata"]),
    }


def _make_role(cluster: list[str], names: list[str], privileges: list[str]) -> Role:
    return {"cluster": cluster, "indices": [{"names": names, "privileges": privileges}]}


def _kibana_privileges(settings: KibanaSettings) -> Role:
    """Return the privilege for saved objects in Kibana's space, if Kibana is configured: an application privilege."""
    if not settings.kibana_url:
        return {}
    space = f"space:{settings.kibana_space or 'default'}"
    entry = {
        "application": "kibana-.kibana",
        "privileges": ["feature_savedObjectsManagement.all"],
        "resources": [space],
    }
    return {"applications": [entry]}
