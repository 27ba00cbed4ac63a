"""The index lifecycle policy: delete an index some days after its creation. Pure.

Indices are daily, so there is no rollover. To use data tiers, change the policy: `crisp setup` keeps a changed policy.
"""

from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch.index_template import OWNER


def body(days: int) -> JsonObject:
    """Return the request body of the policy."""
    return {"policy": {"_meta": {"owner": OWNER}, "phases": {"hot": _HOT_PHASE, "delete": _delete_phase(days)}}}


_HOT_PHASE: JsonObject = {"min_age": "0ms", "actions": {}}


def _delete_phase(days: int) -> JsonObject:
    return {"min_age": f"{days}d", "actions": {"delete": {"delete_searchable_snapshot": True}}}


def retention_days(policy: JsonObject) -> int | None:
    """Return after how many days an installed policy deletes; None if it is not a policy of `body`."""
    phases = policy.get("phases")
    deletion = phases.get("delete") if isinstance(phases, dict) else None
    age = str(deletion.get("min_age", "")) if isinstance(deletion, dict) else ""
    days = int(age[:-1]) if age.endswith("d") and age[:-1].isdecimal() else 0
    return days if days and phases == {"hot": _HOT_PHASE, "delete": _delete_phase(days)} else None
