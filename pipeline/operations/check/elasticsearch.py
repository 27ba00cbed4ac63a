"""Elasticsearch, asked: version, credentials, rights, template, mappers, clock. Nothing is written."""

import time
from datetime import UTC, datetime
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import Settings, variable
from pipeline.elasticsearch import index_template, roles
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.index_template import Lacking
from pipeline.operations.check.finding import Finding, failed, ok, warning

LEAST = (8, 11)
CLOCK_SECONDS = 5.0
_JSON = {"content-type": "application/json", "accept": "application/json"}
_SETUP = "run `crisp setup`, with the rights for it"
_SHOWN = 5


class Elasticsearch:
    """One cluster under examination."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch) -> None:
        self._settings = settings
        self._client = client

    async def findings(self) -> list[Finding]:
        """Everything that could be asked."""
        made = [await self._reached()]
        if made[0].state == "failed":
            return made
        made += [await self._credentials(), *await self._rights(), *await self._templates()]
        return [*made, await self._indices(), await self._health(), await self._clock()]

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and answer; status 0 with the fault's words when there was no answer."""
        try:
            answer = await self._client.perform_request(method, path, headers=_JSON, body=body)
        except ApiError as fault:
            return fault.status_code, fault.body
        except (TransportError, OSError, ValueError) as fault:
            return 0, str(fault)
        return answer.meta.status, answer.body

    async def _reached(self) -> Finding:
        where = self._settings.es_urls
        status, answer = await self._ask("GET", "/_nodes/_local?filter_path=nodes.*.version")
        if status == 0:
            todo = f"check {variable('es_urls')}, and {variable('es_ca_file')} if it speaks TLS"
            return failed("Elasticsearch", f"{where}: {answer}", todo)
        if status == 401:
            names = f"{variable('es_user')} and {variable('es_password')}, or {variable('es_api_key')}"
            return failed("Elasticsearch", f"{where} refuses the credentials", f"check {names}")
        if status != 200:
            return warning("Elasticsearch", f"{where} answers, its version may not be asked: {_words(status, answer)}")
        version = next(iter(answer["nodes"].values()))["version"]
        if tuple(int(part) for part in version.split(".")[:2]) < LEAST:
            return failed(
                "Elasticsearch", f"{where} is {version}", f"{'.'.join(map(str, LEAST))} is the oldest that will do"
            )
        return ok("Elasticsearch", f"{where} answers, version {version}")

    async def _credentials(self) -> Finding:
        status, answer = await self._ask("GET", "/_security/_authenticate")
        if status == 200:
            return ok("credentials", f"user {answer['username']}")
        if status in (400, 405, 500):
            return warning("credentials", "this cluster has no security: whoever reaches it may do anything")
        return failed(
            "credentials", _words(status, answer), f"check {variable('es_user')} and {variable('es_password')}"
        )

    async def _rights(self) -> list[Finding]:
        role = roles.all_of(self._settings)["crisp_worker"]
        body = {"cluster": role["cluster"], "index": role["indices"]}
        status, answer = await self._ask("POST", "/_security/user/_has_privileges", body)
        if status != 200:
            return []  # no security: said by the credentials
        absent = {name for name, has in answer["cluster"].items() if not has}
        absent |= {name for index in answer["index"].values() for name, has in index.items() if not has}
        if absent:
            todo = "give the user the role crisp_worker that `crisp setup --roles` prints"
            return [failed("rights of a worker", f"lacking: {', '.join(sorted(absent))}", todo)]
        return [ok("rights of a worker", ", ".join([*role["cluster"], *role["indices"][0]["privileges"]]))]

    async def _templates(self) -> list[Finding]:
        return [await self._template(one) for one in index_template.all_of(self._settings)]

    async def _template(self, one: index_template.Template) -> Finding:
        what = f"index template {one.name}"
        status, answer = await self._ask("GET", f"/_index_template/{one.name}?flat_settings=true")
        if status == 404:
            return failed(what, "is not there", _SETUP)
        if status != 200:
            return warning(what, f"may not be seen: {_words(status, answer)}")
        stands = answer["index_templates"][0]["index_template"]
        if not index_template.is_ours(stands.get("_meta")):
            return failed(what, "is not crisp's", "rename or remove it, then run `crisp setup`")
        properties = stands["template"]["mappings"]["properties"]
        plain = _plain(properties, index_template.body(one, self._settings, Lacking()))
        without = Lacking(frozenset(plain), frozenset())
        differs = index_template.drift(stands, index_template.body(one, self._settings, without))
        differs = [name for name in differs if not name.startswith("index.")] if plain else differs
        if differs:
            return warning(what, f"differs from this version's in {', '.join(differs[:_SHOWN])}", _SETUP)
        words = f"; without {', '.join(sorted(plain))}, which this server lacks" if plain else ""
        return ok(what, f"ours, version {stands.get('version')}{words}")

    async def _indices(self) -> Finding:
        path = ",".join(index_template.patterns(self._settings))
        query = "filter_path=*.mappings._meta&ignore_unavailable=true&allow_no_indices=true"
        status, answer = await self._ask("GET", f"/{path}/_mapping?{query}")
        if status != 200:
            return warning("indices", f"may not be seen: {_words(status, answer)}")
        today = f"{self._settings.index_prefix}-{datetime.now(UTC):%Y.%m.%d}"
        status, about = await self._ask("GET", f"/{today}/_mapping")
        if status == 200 and not any(index_template.is_ours(one["mappings"].get("_meta")) for one in about.values()):
            todo = f"documents go to {self._settings.index_prefix}-crisp.…: look for both, until that shipper has ended"
            return warning("indices", f"{today} was made by another shipper", todo)
        return ok("indices", f"{len(answer)} of ours are there" if answer else "none of ours yet")

    async def _health(self) -> Finding:
        status, answer = await self._ask("GET", "/_cluster/health?filter_path=status,number_of_data_nodes")
        if status != 200:
            return warning("cluster", f"its health may not be seen: {_words(status, answer)}")
        if answer["status"] == "red":
            return failed("cluster", "red: some shards are not there", "ask GET _cluster/allocation/explain")
        return ok("cluster", f"{answer['status']}, {answer['number_of_data_nodes']} data nodes")

    async def _clock(self) -> Finding:
        asked = time.time()
        status, answer = await self._ask("GET", "/_nodes/_local/stats/os?filter_path=nodes.*.timestamp")
        heard = time.time()
        if status != 200:
            return warning("clock", f"may not be seen: {_words(status, answer)}")
        theirs = next(iter(answer["nodes"].values()))["timestamp"] / 1000
        apart = max(asked - theirs, theirs - heard, 0.0)
        if apart > CLOCK_SECONDS:
            return warning("clock", f"{apart:.1f} s apart from this machine's", "keep both by NTP")
        return ok("clock", "the same as this machine's")


def _plain(stands: dict[str, Any], wanted: dict[str, Any]) -> set[str]:
    """The mappers that the template that stands does without."""
    properties = wanted["template"]["mappings"]["properties"]
    special = {"match_only_text", "wildcard", "flattened"}
    return {
        about["type"]
        for name, about in properties.items()
        if about["type"] in special and stands.get(name, {}).get("type") != about["type"]
    }


def _words(status: int, answer: Any) -> str:
    return f"status {status}: {str(answer)[:200]}"


async def findings(settings: Settings) -> list[Finding]:
    """What there is to say of the Elasticsearch in the settings."""
    client = connect(settings)
    try:
        return await Elasticsearch(settings, client).findings()
    finally:
        await client.close()
