"""Puts into Elasticsearch what the worker relies on: lifecycle policies and index templates. Again changes nothing.

What the server lacks is said and left out; what is somebody else's, or was changed by hand, is never overwritten
silently.
"""

from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import Settings, variable
from pipeline.elasticsearch import index_template, lifecycle_policy
from pipeline.elasticsearch.index_template import Lacking, Template
from pipeline.errors import SetupError

_TRIES = 8
_SHOWN = 5
_HEADERS = {"content-type": "application/json", "accept": "application/json"}


class Installation:
    """One run of setup at one Elasticsearch; `said` has a line for each thing that was done or found."""

    def __init__(self, client: AsyncElasticsearch, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self.said: list[str] = []

    async def run(self) -> list[str]:
        """Put everything; returns what was done, a line each. Raises SetupError."""
        templates = index_template.all_of(self._settings)
        without = await self._lifecycles(templates)
        for one in templates:
            without = await self._template(one, without)
        for one in templates:
            await self._check_taken(one)
        self.said += [f"  this server has no mapper {kind}: a plain one is used" for kind in sorted(without.types)]
        absent = sorted(without.settings - {index_template.LIFECYCLE})
        self.said += [f"  this server has no setting {key}: left out" for key in absent]
        await self._check_indices()
        return self.said

    async def _lifecycles(self, templates: list[Template]) -> Lacking:
        for one in templates:
            if not one.policy:
                continue
            status, answer = await self._call("GET", f"/_ilm/policy/{one.policy}")
            if status == 405 or (status == 400 and "no handler" in str(answer)):
                self.said.append(
                    "lifecycle: this server has no lifecycle management: nothing deletes old indices, do it yourself"
                )
                return Lacking(settings=frozenset({index_template.LIFECYCLE}))
            if status not in (200, 404):
                raise SetupError(f"lifecycle policy {one.policy} cannot be read: {_words(status, answer)}")
            await self._lifecycle(one, answer[one.policy]["policy"] if status == 200 else None)
        return Lacking()

    async def _lifecycle(self, one: Template, stands: dict[str, Any] | None) -> None:
        name = f"lifecycle policy {one.policy}"
        days = lifecycle_policy.days_of(stands) if stands is not None else None
        if stands is not None and days is None:
            self.said.append(f"{name}: was changed by hand, left as it is")
        elif days == one.days:
            self.said.append(f"{name}: is there already, deletes after {days} days")
        elif owner := await self._put(name, f"/_ilm/policy/{one.policy}", lifecycle_policy.body(one.days)):
            self.said.append(f"{name}: deletes after {days} days, not {one.days}; {_belongs(owner)}")
        else:
            before = f" (was {days})" if days else ""
            self.said.append(f"{name}: put, deletes after {one.days} days{before}")

    async def _put(self, name: str, path: str, body: dict[str, Any]) -> str:
        """Put a thing; returns who alone may change it, where that is not us. Raises SetupError."""
        status, answer = await self._call("PUT", path, body)
        owner = index_template.owner_of(str(answer)) if status == 400 else ""
        if status != 200 and not owner:
            raise SetupError(f"{name} refused: {_words(status, answer)}")
        return owner

    async def _template(self, one: Template, without: Lacking) -> Lacking:
        stands = await self._standing(one)
        if stands is not None and int(stands.get("version") or 0) > index_template.VERSION:
            self.said.append(f"index template {one.name}: a newer crisp has put it (version {stands['version']}), left")
            return without
        name, current = f"index template {one.name}", f"version {index_template.VERSION}"
        wanted, without = await self._wanted(one, without)
        differs = index_template.drift(stands, wanted) if stands is not None else []
        if stands is not None and not differs:
            self.said.append(f"{name}: is there already, {current}")
        elif owner := await self._put(name, f"/_index_template/{one.name}?create=false", wanted):
            self.said.append(f"{name}: differs from {current}: {_shown(differs)}; {_belongs(owner)}")
        elif stands is not None:
            self.said.append(f"{name}: had drifted, put again, {current}: {_shown(differs)}")
        else:
            self.said.append(f"{name}: put, {current}")
        return without

    async def _wanted(self, one: Template, without: Lacking) -> tuple[dict[str, Any], Lacking]:
        """The template as this server can take it: it is asked what it would make of it, which changes nothing."""
        for _ in range(_TRIES):
            wanted = index_template.body(one, self._settings, without)
            status, answer = await self._call("POST", f"/_index_template/_simulate/{one.name}", wanted)
            if status == 200:
                return wanted, without
            more = index_template.lacking(str(answer))
            if status != 400 or not (more.types - without.types or more.settings - without.settings):
                raise SetupError(f"index template {one.name} refused: {_words(status, answer)}")
            without = Lacking(without.types | more.types, without.settings | more.settings)
        raise SetupError(f"index template {one.name}: this server lacks too much: {sorted(without.types)}")

    async def _standing(self, one: Template) -> dict[str, Any] | None:
        status, answer = await self._call("GET", f"/_index_template/{one.name}?flat_settings=true")
        if status == 404:
            return None
        if status != 200:
            raise SetupError(f"index template {one.name} cannot be read: {_words(status, answer)}")
        found: dict[str, Any] = answer["index_templates"][0]["index_template"]
        if not index_template.is_ours(found.get("_meta")):
            raise SetupError(f"an index template {one.name} is there that is not crisp's: rename or remove it")
        return found

    async def _check_taken(self, one: Template) -> None:
        """A template of higher priority would take our indices, and nobody would see it before their first day."""
        index = one.patterns[0].replace("20*", "2099.01.01").rstrip("*")
        answer = await self._must("POST", f"/_index_template/_simulate_index/{index}", None)
        mappings = answer.get("template", {}).get("mappings", {})
        if not index_template.is_ours(mappings.get("_meta")):
            others = ", ".join(entry["name"] for entry in answer.get("overlapping", ())) or "unknown"
            raise SetupError(
                f"index template {one.name} does not take the index {index}: another one has a priority above "
                f"{index_template.PRIORITY}; look at {others}"
            )

    async def _check_indices(self) -> None:
        """Say which indices keep an older mapping until their day is over, and which are not ours at all."""
        path = ",".join(index_template.patterns(self._settings))
        every = await self._must("GET", f"/{path}/_settings?filter_path=*.settings.index.uuid", None)
        marked = await self._must("GET", f"/{path}/_mapping?filter_path=*.mappings._meta", None)
        for index in sorted(every):
            meta = marked.get(index, {}).get("mappings", {}).get("_meta")
            if not index_template.is_ours(meta):
                self.said.append(f"  index {index} is not crisp's: it is left alone, documents go beside it")
            elif meta.get("version") != index_template.VERSION:
                self.said.append(f"  index {index} keeps the mapping of version {meta.get('version')}")

    async def _must(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        status, answer = await self._call(method, path, body)
        if status != 200:
            raise SetupError(f"Elasticsearch refuses {method} {path.partition('?')[0]}: {_words(status, answer)}")
        return answer

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        try:
            answer = await self._client.perform_request(method, path, headers=_HEADERS, body=body)
        except ApiError as fault:
            return fault.status_code, fault.body
        except TransportError as fault:
            raise SetupError(f"Elasticsearch at {self._settings.es_urls} cannot be reached: {fault}") from fault
        return answer.meta.status, answer.body


def _belongs(owner: str) -> str:
    return (
        f"left, since only Elasticsearch's {owner} may change it:"
        " do so in the StackConfigPolicy (with ECK), or in config/operator/settings.json"
    )


def _shown(differs: list[str]) -> str:
    more = f" and {len(differs) - _SHOWN} more" if len(differs) > _SHOWN else ""
    return ", ".join(differs[:_SHOWN]) + more


def _words(status: int, answer: Any) -> str:
    hint = f" (check ES_USER and ES_PASSWORD, or {variable('es_api_key')})" if status in (401, 403) else ""
    return f"status {status}{hint}: {str(answer)[:500]}"
