"""The saved objects in the export format of Kibana 8.11, which it and all newer versions import. Pure.

Data view, searches, charts (Lens) and a dashboard refer to each other by id. The ids never change, so a repeated
import overwrites crisp's objects and no others.
"""

import json
from typing import NamedTuple

from pipeline.config.settings import IndexSettings
from pipeline.contract.json_types import JsonObject

DATA_VIEW_ID = "crisp-logs"
DASHBOARD_ID = "crisp-overview"
CORE_MIGRATION_VERSION = "8.8.0"
# The migration version of each type in 8.11: Kibana migrates objects of older versions and rejects newer ones.
TYPE_MIGRATION_VERSIONS = {"index-pattern": "8.0.0", "search": "8.0.0", "lens": "8.9.0", "dashboard": "8.9.0"}
LAYER_ID = "layer"

SavedObject = JsonObject
"""One saved object."""


class SavedSearch(NamedTuple):
    """A saved search: its query (KQL) and columns."""

    id: str
    title: str
    description: str
    query: str
    columns: tuple[str, ...]
    order: str = "desc"


class Chart(NamedTuple):
    """A bar chart of document counts, by time or by `field`, optionally split by another field. `query` is KQL."""

    id: str
    title: str
    query: str
    field: str
    split: str = ""


SOURCE_COLUMNS = ("service.name", "kubernetes.namespace", "kubernetes.pod.name")
SEARCHES = (
    SavedSearch(
        "crisp-errors",
        "crisp: errors with stack traces",
        "Errors with complete stack traces.",
        "error.stack_trace: *",
        (*SOURCE_COLUMNS, "error.type", "error.message", "error.stack_trace"),
    ),
    SavedSearch(
        "crisp-trace",
        "crisp: one trace across services",
        "Filter by one trace.id to read a request's lines in the order in which they were written.",
        "trace.id: *",
        ("trace.id", "service.name", "log.level", "message"),
        "asc",
    ),
    SavedSearch(
        "crisp-gaps",
        "crisp: gaps",
        "Log lines that were lost before they could be read.",
        "crisp.gap.reason: *",
        (*SOURCE_COLUMNS, "crisp.gap.reason", "crisp.gap.bytes", "crisp.gap.since", "crisp.gap.until"),
    ),
    SavedSearch(
        "crisp-rejected",
        "crisp: rejected documents",
        "Indexed in a fallback form, since Elasticsearch rejected their content.",
        "crisp.rejected.type: *",
        (*SOURCE_COLUMNS, "crisp.rejected.type", "crisp.rejected.reason", "message"),
    ),
)
CHARTS = (
    Chart("crisp-by-service", "Volume by service", "", "@timestamp", "service.name"),
    Chart("crisp-by-level", "Volume by level", "", "@timestamp", "log.level"),
    Chart(
        "crisp-errors-by-service",
        "Errors by service",
        "log.level: (error or critical or fatal)",
        "service.name",
        "error.type",
    ),
    Chart("crisp-talkers", "Top talkers", "", "kubernetes.pod.name", "kubernetes.namespace"),
    Chart("crisp-gaps-by-reason", "Gaps by reason", "crisp.gap.reason: *", "@timestamp", "crisp.gap.reason"),
    Chart(
        "crisp-rejected-by-service",
        "Rejected by service",
        "crisp.rejected.type: *",
        "service.name",
        "crisp.rejected.type",
    ),
)


def saved_objects(settings: IndexSettings) -> list[SavedObject]:
    """Return all objects, each after those that it refers to."""
    return [
        _data_view(settings),
        *(_saved_search(search) for search in SEARCHES),
        *(_chart(chart) for chart in CHARTS),
        _dashboard(),
    ]


def ndjson(settings: IndexSettings) -> bytes:
    """Return the objects in Kibana's import format: one JSON object per line."""
    return b"".join(json.dumps(saved, separators=(",", ":")).encode() + b"\n" for saved in saved_objects(settings))


def _saved_object(kind: str, identity: str, attributes: JsonObject, references: list[dict[str, str]]) -> SavedObject:
    return {
        "type": kind,
        "id": identity,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": CORE_MIGRATION_VERSION,
        "typeMigrationVersion": TYPE_MIGRATION_VERSIONS[kind],
        "managed": False,
    }


def _reference(kind: str, identity: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": identity, "name": name}


def _data_view(settings: IndexSettings) -> SavedObject:
    pattern = f"{settings.index_prefix}-*"
    attributes = {"title": pattern, "name": "crisp logs", "timeFieldName": "@timestamp", "allowNoIndex": True}
    return _saved_object("index-pattern", DATA_VIEW_ID, attributes, [])


def _search_source(query: str) -> str:
    source = {"query": {"query": query, "language": "kuery"}, "filter": []}
    return json.dumps({**source, "indexRefName": "kibanaSavedObjectMeta.searchSourceJSON.index"})


def _saved_search(search: SavedSearch) -> SavedObject:
    attributes = {
        "title": search.title,
        "description": search.description,
        "columns": list(search.columns),
        "sort": [["@timestamp", search.order], ["log.offset", search.order]],
        "kibanaSavedObjectMeta": {"searchSourceJSON": _search_source(search.query)},
    }
    reference = _reference("index-pattern", DATA_VIEW_ID, "kibanaSavedObjectMeta.searchSourceJSON.index")
    return _saved_object("search", search.id, attributes, [reference])


def _chart(chart: Chart) -> SavedObject:
    """Return a bar chart: vertical by time, horizontal by the values of a field."""
    over_time = chart.field == "@timestamp"
    columns = {"count": _count_column(), "by": _time_column() if over_time else _terms_column(chart.field, 15)}
    if chart.split:
        columns["split"] = _terms_column(chart.split, 10)
    shape = "bar_stacked" if over_time else "bar_horizontal_stacked"
    attributes = {
        "title": f"crisp: {chart.title}",
        "visualizationType": "lnsXY",
        "state": {
            "datasourceStates": {
                "formBased": {
                    "layers": {
                        LAYER_ID: {
                            "columns": columns,
                            "columnOrder": sorted(columns, key=("by", "split", "count").index),
                            "incompleteColumns": {},
                        }
                    }
                }
            },
            "visualization": {
                "layers": [_chart_layer(shape, split=bool(chart.split))],
                "legend": {"isVisible": True, "position": "right"},
                "preferredSeriesType": shape,
                "valueLabels": "hide",
            },
            "query": {"query": chart.query, "language": "kuery"},
            "filters": [],
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }
    return _saved_object(
        "lens",
        chart.id,
        attributes,
        [_reference("index-pattern", DATA_VIEW_ID, f"indexpattern-datasource-layer-{LAYER_ID}")],
    )


def _chart_layer(shape: str, *, split: bool) -> JsonObject:
    """Return the layer of a chart: its axes and its kind of bars."""
    return {
        "layerId": LAYER_ID,
        "layerType": "data",
        "seriesType": shape,
        "xAccessor": "by",
        "accessors": ["count"],
        **({"splitAccessor": "split"} if split else {}),
    }


def _count_column() -> JsonObject:
    return {
        "label": "documents",
        "customLabel": True,
        "dataType": "number",
        "operationType": "count",
        "isBucketed": False,
        "scale": "ratio",
        "sourceField": "___records___",
    }


def _time_column() -> JsonObject:
    return {
        "label": "@timestamp",
        "dataType": "date",
        "operationType": "date_histogram",
        "isBucketed": True,
        "scale": "interval",
        "sourceField": "@timestamp",
        "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False},
    }


def _terms_column(field: str, size: int) -> JsonObject:
    return {
        "label": field,
        "customLabel": True,
        "dataType": "string",
        "operationType": "terms",
        "isBucketed": True,
        "scale": "ordinal",
        "sourceField": field,
        "params": {
            "size": size,
            "orderBy": {"type": "column", "columnId": "count"},
            "orderDirection": "desc",
            "otherBucket": True,
            "missingBucket": False,
        },
    }


def _dashboard() -> SavedObject:
    """Return the dashboard: charts in rows of two, below them the searches at full width."""
    full_width, half_width, height = 48, 24, 12
    panels, references = [], []
    objects = [("lens", chart.id) for chart in CHARTS] + [("search", search.id) for search in SEARCHES]
    chart_rows = len(CHARTS) // 2
    for number, (kind, identity) in enumerate(objects):
        is_chart = number < len(CHARTS)
        x, width = (number % 2 * half_width, half_width) if is_chart else (0, full_width)
        y = height * (number // 2 if is_chart else chart_rows + number - len(CHARTS))
        name = f"panel_{number}"
        grid_data = {"x": x, "y": y, "w": width, "h": height, "i": str(number)}
        panel = {
            "type": kind,
            "gridData": grid_data,
            "panelIndex": str(number),
            "embeddableConfig": {},
            "panelRefName": name,
        }
        panels.append(panel)
        references.append(_reference(kind, identity, f"{number}:{name}"))
    attributes = {
        "title": "crisp: logs at a glance",
        "description": "Volume, errors, top talkers, gaps, rejected documents.",
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"useMargins": True, "syncColors": False, "hidePanelTitles": False}),
        "timeRestore": True,
        "timeFrom": "now-1h",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 60000},
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
        "version": 1,
    }
    return _saved_object("dashboard", DASHBOARD_ID, attributes, references)
