"""Elasticsearch, asked: version, credentials, rights, template, mappers, clock. Nothing is written."""

import time
from datetime import UTC, datetime
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import Settings, env_name
from pipeline.elasticsearch import index_template, roles
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.index_template import Unsupported
from pipeline.operations.check.finding import CheckResult, failed, ok, warning

MIN_VERSION = (8, 11)
MAX_CLOCK_SKEW_SECONDS = 5.0
_JSON = {"content-type": "application/json", "accept": "application/json"}
_RUN_SETUP = "run `crisp setup`, with the rights for it"
_MAX_DIFFERENCES = 5


class ElasticsearchCheck:
    """One cluster under examination."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch) -> None:
        self._settings = settings
        self._client = client

    async def run(self) -> list[CheckResult]:
        """Everything that could be asked."""
        made = [await self._check_connection()]
        if made[0].state == "failed":
            return made
        made += [await self._check_credentials(), *await self._check_privileges(), *await self._check_templates()]
        return [*made, await self._check_indices(), await self._check_health(), await self._check_clock()]

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and answer; status 0 with the fault's words when there was no answer."""
        try:
            answer = await self._client.perform_request(method, path, headers=_JSON, body=body)
        except ApiError as fault:
            return fault.status_code, fault.body
        except (TransportError, OSError, ValueError) as fault:
            return 0, str(fault)
        return answer.meta.status, answer.body

    async def _check_connection(self) -> CheckResult:
        where = self._settings.es_urls
        status, answer = await self._request("GET", "/_nodes/_local?filter_path=nodes.*.version")
        if status == 0:
            todo = f"check {env_name('es_urls')}, and {env_name('es_ca_file')} if it speaks TLS"
            return failed("Elasticsearch", f"{where}: {answer}", todo)
        if status == 401:
            names = f"{env_name('es_user')} and {env_name('es_password')}, or {env_name('es_api_key')}"
            return failed("Elasticsearch", f"{where} refuses the credentials", f"check {names}")
        if status != 200:
            return warning(
                "Elasticsearch", f"{where} answers, its version may not be asked: {_describe_response(status, answer)}"
            )
        version = next(iter(answer["nodes"].values()))["version"]
        if tuple(int(part) for part in version.split(".")[:2]) < MIN_VERSION:
            return failed(
                "Elasticsearch",
                f"{where} is {version}",
                f"{'.'.join(map(str, MIN_VERSION))} is the oldest that will do",
            )
        return ok("Elasticsearch", f"{where} answers, version {version}")

    async def _check_credentials(self) -> CheckResult:
        status, answer = await self._request("GET", "/_security/_authenticate")
        if status == 200:
            return ok("credentials", f"user {answer['username']}")
        if status in (400, 405, 500):
            return warning("credentials", "this cluster has no security: whoever reaches it may do anything")
        return failed(
            "credentials",
            _describe_response(status, answer),
            f"check {env_name('es_user')} and {env_name('es_password')}",
        )

    async def _check_privileges(self) -> list[CheckResult]:
        role = roles.all_roles(self._settings)["crisp_worker"]
        body = {"cluster": role["cluster"], "index": role["indices"]}
        status, answer = await self._request("POST", "/_security/user/_has_privileges", body)
        if status != 200:
            return []  # no security: said by the credentials
        absent = {name for name, has in answer["cluster"].items() if not has}
        absent |= {name for index in answer["index"].values() for name, has in index.items() if not has}
        if absent:
            todo = "give the user the role crisp_worker that `crisp setup --roles` prints"
            return [failed("rights of a worker", f"lacking: {', '.join(sorted(absent))}", todo)]
        return [ok("rights of a worker", ", ".join([*role["cluster"], *role["indices"][0]["privileges"]]))]

    async def _check_templates(self) -> list[CheckResult]:
        return [await self._check_template(one) for one in index_template.all_templates(self._settings)]

    async def _check_template(self, template: index_template.Template) -> CheckResult:
        what = f"index template {template.name}"
        status, answer = await self._request("GET", f"/_index_template/{template.name}?flat_settings=true")
        if status == 404:
            return failed(what, "is not there", _RUN_SETUP)
        if status != 200:
            return warning(what, f"may not be seen: {_describe_response(status, answer)}")
        stands = answer["index_templates"][0]["index_template"]
        if not index_template.is_owned_by_crisp(stands.get("_meta")):
            return failed(what, "is not crisp's", "rename or remove it, then run `crisp setup`")
        properties = stands["template"]["mappings"]["properties"]
        plain = _replaced_types(properties, index_template.body(template, self._settings, Unsupported()))
        without = Unsupported(frozenset(plain), frozenset())
        differs = index_template.drift(stands, index_template.body(template, self._settings, without))
        differs = [name for name in differs if not name.startswith("index.")] if plain else differs
        if differs:
            return warning(what, f"differs from this version's in {', '.join(differs[:_MAX_DIFFERENCES])}", _RUN_SETUP)
        words = f"; without {', '.join(sorted(plain))}, which this server lacks" if plain else ""
        return ok(what, f"ours, version {stands.get('version')}{words}")

    async def _check_indices(self) -> CheckResult:
        path = ",".join(index_template.index_patterns(self._settings))
        query = "filter_path=*.mappings._meta&ignore_unavailable=true&allow_no_indices=true"
        status, answer = await self._request("GET", f"/{path}/_mapping?{query}")
        if status != 200:
            return warning("indices", f"may not be seen: {_describe_response(status, answer)}")
        today = f"{self._settings.index_prefix}-{datetime.now(UTC):%Y.%m.%d}"
        status, about = await self._request("GET", f"/{today}/_mapping")
        if status == 200 and not any(
            index_template.is_owned_by_crisp(one["mappings"].get("_meta")) for one in about.values()
        ):
            todo = f"documents go to {self._settings.index_prefix}-crisp.…: look for both, until that shipper has ended"
            return warning("indices", f"{today} was made by another shipper", todo)
        return ok("indices", f"{len(answer)} of ours are there" if answer else "none of ours yet")

    async def _check_health(self) -> CheckResult:
        status, answer = await self._request("GET", "/_cluster/health?filter_path=status,number_of_data_nodes")
        if status != 200:
            return warning("cluster", f"its health may not be seen: {_describe_response(status, answer)}")
        if answer["status"] == "red":
            return failed("cluster", "red: some shards are not there", "ask GET _cluster/allocation/explain")
        return ok("cluster", f"{answer['status']}, {answer['number_of_data_nodes']} data nodes")

    async def _check_clock(self) -> CheckResult:
        asked = time.time()
        status, answer = await self._request("GET", "/_nodes/_local/stats/os?filter_path=nodes.*.timestamp")
        heard = time.time()
        if status != 200:
            return warning("clock", f"may not be seen: {_describe_response(status, answer)}")
        theirs = next(iter(answer["nodes"].values()))["timestamp"] / 1000
        apart = max(asked - theirs, theirs - heard, 0.0)
        if apart > MAX_CLOCK_SKEW_SECONDS:
            return warning("clock", f"{apart:.1f} s apart from this machine's", "keep both by NTP")
        return ok("clock", "the same as this machine's")


def _replaced_types(existing: dict[str, Any], wanted: dict[str, Any]) -> set[str]:
    """The mappers that the template that stands does without."""
    properties = wanted["template"]["mappings"]["properties"]
    special = {"match_only_text", "wildcard", "flattened"}
    return {
        about["type"]
        for name, about in properties.items()
        if about["type"] in special and existing.get(name, {}).get("type") != about["type"]
    }


def _describe_response(status: int, answer: Any) -> str:
    return f"status {status}: {str(answer)[:200]}"


async def run_checks(settings: Settings) -> list[CheckResult]:
    """What there is to say of the Elasticsearch in the settings."""
    client = connect(settings)
    try:
        return await ElasticsearchCheck(settings, client).run()
    finally:
        await client.close()
