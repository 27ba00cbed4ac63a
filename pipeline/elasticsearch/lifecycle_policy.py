"""The lifecycle policy of an index: deleted some days after it was made, nothing else. Pure.

Indices are of a day, so there is nothing to roll over; whoever wants tiers changes the policy, and it is left as it is.
"""

from typing import Any

from pipeline.elasticsearch.index_template import OWNER


def body(days: int) -> dict[str, Any]:
    """The policy as Elasticsearch takes it."""
    return {"policy": {"_meta": {"owner": OWNER}, "phases": {"hot": _HOT_PHASE, "delete": _delete_phase(days)}}}


_HOT_PHASE: dict[str, Any] = {"min_age": "0ms", "actions": {}}


def _delete_phase(days: int) -> dict[str, Any]:
    return {"min_age": f"{days}d", "actions": {"delete": {"delete_searchable_snapshot": True}}}


def retention_days(policy: dict[str, Any]) -> int | None:
    """After how many days a policy that stands deletes; None when it is not one that `body` makes."""
    phases = policy.get("phases", {})
    age = str(phases.get("delete", {}).get("min_age", ""))
    days = int(age[:-1]) if age.endswith("d") and age[:-1].isdecimal() else 0
    return days if days and phases == {"hot": _HOT_PHASE, "delete": _delete_phase(days)} else None
