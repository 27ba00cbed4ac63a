"""Checks Elasticsearch: version, credentials, privileges, templates, mappers, indices, health, clock. Read-only."""

import re
import time
from collections.abc import Awaitable
from datetime import UTC, datetime

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings, env_name
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch import index_template, requests, roles
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.index_template import Unsupported
from pipeline.elasticsearch.requests import Response
from pipeline.errors import ResponseError
from pipeline.operations.check.finding import CheckResult, failed, ok, warning

MIN_VERSION = (8, 11)
MAX_CLOCK_SKEW_SECONDS = 5.0
_RUN_SETUP = "run `crisp setup`, with the privileges for it"
_MAX_DIFFERENCES = 5


class ElasticsearchCheck:
    """Checks one cluster."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch) -> None:
        self._settings = settings
        self._client = client

    async def run(self) -> list[CheckResult]:
        """Run all checks; only the first if Elasticsearch cannot be used."""
        results = [await self._try("Elasticsearch", self._check_connection())]
        if results[0].status == "failed":
            return results
        results += [await self._try("credentials", self._check_credentials())]
        results += await self._check_privileges()
        for template in index_template.all_templates(self._settings):
            results.append(await self._try(f"index template {template.name}", self._check_template(template)))
        return [
            *results,
            await self._try("indices", self._check_indices()),
            await self._try("cluster", self._check_health()),
            await self._try("clock", self._check_clock()),
        ]

    async def _try(self, subject: str, check: Awaitable[CheckResult]) -> CheckResult:
        """Run a check; a response that is not Elasticsearch's is its failure."""
        try:
            return await check
        except ResponseError as error:
            return failed(subject, str(error), f"check that {env_name('es_urls')} is Elasticsearch")

    async def _request(self, method: str, path: str, body: JsonObject | None = None) -> Response:
        response = await requests.request(self._client, method, path, body)
        requests.require_own_form(response)
        return response

    async def _check_connection(self) -> CheckResult:
        urls = self._settings.es_address
        response = await self._request("GET", "/_nodes/_local?filter_path=nodes.*.version")
        if response.status <= 0:
            remedy = f"check {env_name('es_urls')}, and {env_name('es_ca_file')} if it uses TLS"
            return failed("Elasticsearch", f"{urls}: {response.body}", remedy)
        if response.status == 401:
            return failed("Elasticsearch", f"{urls} rejects the credentials", requests.CREDENTIALS_HINT)
        if response.status != 200:
            return warning(
                "Elasticsearch",
                f"{urls} is reachable, cannot read its version: {requests.describe(response)}",
            )
        version = requests.read_member(_first_node(response.body), str, "version")
        numbers = re.match(r"(\d{1,4})\.(\d{1,4})", version, re.ASCII)
        if numbers is None:
            raise ResponseError(f"the response is not Elasticsearch's: version {version[:50]!r}")
        if (int(numbers[1]), int(numbers[2])) < MIN_VERSION:
            return failed(
                "Elasticsearch", f"{urls} is {version}", f"use version {'.'.join(map(str, MIN_VERSION))} or newer"
            )
        return ok("Elasticsearch", f"{urls} is reachable, version {version}")

    async def _check_credentials(self) -> CheckResult:
        response = await self._request("GET", "/_security/_authenticate")
        if response.status == 200:
            return ok("credentials", f"user {requests.read_member(response.body, str, 'username')}")
        if response.status in (400, 405, 500):
            return warning("credentials", "security is disabled in this cluster: every client has full access")
        return failed(
            "credentials",
            requests.describe(response),
            requests.CREDENTIALS_HINT,
        )

    async def _check_privileges(self) -> list[CheckResult]:
        role = roles.all_roles(self._settings)["crisp_worker"]
        required = {"cluster": role["cluster"], "index": role["indices"]}
        subject = "privileges of a worker"
        try:
            status, body = await self._request("POST", "/_security/user/_has_privileges", required)
            if status != 200:
                return []  # security is disabled: reported by the credentials' check
            by_index = requests.read_objects(requests.read_member(body, dict, "index"))
            granted = [requests.read_member(body, dict, "cluster"), *by_index.values()]
        except ResponseError as error:
            return [failed(subject, str(error), f"check that {env_name('es_urls')} is Elasticsearch")]
        missing = {name for privileges in granted for name, is_granted in privileges.items() if is_granted is not True}
        if missing:
            remedy = "grant the user the role crisp_worker that `crisp setup --roles` prints"
            return [failed(subject, f"missing: {', '.join(sorted(missing))}", remedy)]
        return [ok(subject, ", ".join([*role["cluster"], *role["indices"][0]["privileges"]]))]

    async def _check_template(self, template: index_template.Template) -> CheckResult:
        subject = f"index template {template.name}"
        response = await self._request("GET", f"/_index_template/{template.name}?flat_settings=true")
        if response.status == 404:
            return failed(subject, "does not exist", _RUN_SETUP)
        if response.status != 200:
            return warning(subject, f"cannot be read: {requests.describe(response)}")
        existing = index_template.read_installed(response.body)
        if not index_template.is_owned_by_crisp(existing.get("_meta")):
            return failed(subject, "is not owned by crisp", "rename or remove it, then run `crisp setup`")
        properties = requests.read_member(existing, dict, "template", "mappings", "properties")
        replaced = _replaced_types(properties, index_template.body(template, self._settings, Unsupported()))
        unsupported = Unsupported(frozenset(replaced), frozenset())
        differences = index_template.drift(existing, index_template.body(template, self._settings, unsupported))
        if replaced:
            differences = [name for name in differences if not name.startswith("index.")]
        if differences:
            return warning(
                subject, f"differs from this version's in {', '.join(differences[:_MAX_DIFFERENCES])}", _RUN_SETUP
            )
        note = f"; without {', '.join(sorted(replaced))}, not supported by this server" if replaced else ""
        return ok(subject, f"up to date, version {existing.get('version')}{note}")

    async def _check_indices(self) -> CheckResult:
        path = ",".join(index_template.index_patterns(self._settings))
        query = "filter_path=*.mappings._meta&ignore_unavailable=true&allow_no_indices=true"
        response = await self._request("GET", f"/{path}/_mapping?{query}")
        if response.status != 200:
            return warning("indices", f"cannot be read: {requests.describe(response)}")
        today = f"{self._settings.index_prefix}-{datetime.now(UTC):%Y.%m.%d}"
        number = len(requests.read_objects(response.body))
        status, indices = await self._request("GET", f"/{today}/_mapping")
        if status == 200 and not any(
            index_template.is_owned_by_crisp(requests.read_member(index, dict, "mappings").get("_meta"))
            for index in requests.read_objects(indices).values()
        ):
            remedy = f"documents go to {self._settings.index_prefix}-crisp.…: search both until that shipper has ended"
            return warning("indices", f"{today} was created by another shipper", remedy)
        return ok("indices", f"{number} owned by crisp" if number else "none owned by crisp yet")

    async def _check_health(self) -> CheckResult:
        response = await self._request("GET", "/_cluster/health?filter_path=status,number_of_data_nodes")
        if response.status != 200:
            return warning("cluster", f"cannot read its health: {requests.describe(response)}")
        status = requests.read_member(response.body, str, "status")
        nodes = requests.read_member(response.body, int, "number_of_data_nodes")
        if status not in ("green", "yellow", "red"):
            raise ResponseError(f"the response is not Elasticsearch's: status {status[:50]!r}")
        if status == "red":
            return failed("cluster", "red: some primary shards are unassigned", "run GET _cluster/allocation/explain")
        return ok("cluster", f"{status}, {nodes} data nodes")

    async def _check_clock(self) -> CheckResult:
        requested_at = time.time()
        response = await self._request("GET", "/_nodes/_local/stats/os?filter_path=nodes.*.timestamp")
        received_at = time.time()
        if response.status != 200:
            return warning("clock", f"cannot be read: {requests.describe(response)}")
        node_time = requests.read_member(_first_node(response.body), int, "timestamp") / 1000
        skew = max(requested_at - node_time, node_time - received_at, 0.0)
        if skew > MAX_CLOCK_SKEW_SECONDS:
            return warning("clock", f"differs from this machine's by {skew:.1f} s", "synchronise both by NTP")
        return ok("clock", "the same as this machine's")


def _replaced_types(existing: JsonObject, wanted: JsonObject) -> set[str]:
    """Return the special field types that the existing template replaces by plain ones."""
    properties = wanted["template"]["mappings"]["properties"]
    special = {"match_only_text", "wildcard", "flattened"}
    return {
        field["type"]
        for name, field in properties.items()
        if field["type"] in special and _type_of(existing.get(name)) != field["type"]
    }


def _type_of(field: object) -> object:
    return field.get("type") if isinstance(field, dict) else None


def _first_node(body: JsonObject) -> JsonObject:
    nodes = requests.read_objects(requests.read_member(body, dict, "nodes"))
    return next(iter(nodes.values()), {})


async def run_checks(settings: Settings) -> list[CheckResult]:
    """Check the Elasticsearch in the settings."""
    client = connect(settings)
    try:
        return await ElasticsearchCheck(settings, client).run()
    finally:
        await client.close()
