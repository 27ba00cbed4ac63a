"""Puts into Elasticsearch what the worker relies on: lifecycle policies and index templates. Again changes nothing.

What the server lacks is said and left out; what is somebody else's, or was changed by hand, is never overwritten
silently.
"""

from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import Settings, env_name
from pipeline.elasticsearch import index_template, lifecycle_policy
from pipeline.elasticsearch.index_template import Template, Unsupported
from pipeline.errors import SetupError

_MAX_ATTEMPTS = 8
_MAX_DIFFERENCES = 5
_HEADERS = {"content-type": "application/json", "accept": "application/json"}


class IndexSetup:
    """One run of setup at one Elasticsearch; `said` has a line for each thing that was done or found."""

    def __init__(self, client: AsyncElasticsearch, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self.messages: list[str] = []

    async def run(self) -> list[str]:
        """Put everything; returns what was done, a line each. Raises SetupError."""
        templates = index_template.all_templates(self._settings)
        without = await self._put_lifecycles(templates)
        for one in templates:
            without = await self._put_template(one, without)
        for one in templates:
            await self._check_precedence(one)
        self.messages += [f"  this server has no mapper {kind}: a plain one is used" for kind in sorted(without.types)]
        absent = sorted(without.settings - {index_template.LIFECYCLE_SETTING})
        self.messages += [f"  this server has no setting {key}: left out" for key in absent]
        await self._check_indices()
        return self.messages

    async def _put_lifecycles(self, templates: list[Template]) -> Unsupported:
        for one in templates:
            if not one.policy:
                continue
            status, answer = await self._request("GET", f"/_ilm/policy/{one.policy}")
            if status == 405 or (status == 400 and "no handler" in str(answer)):
                self.messages.append(
                    "lifecycle: this server has no lifecycle management: nothing deletes old indices, do it yourself"
                )
                return Unsupported(settings=frozenset({index_template.LIFECYCLE_SETTING}))
            if status not in (200, 404):
                raise SetupError(f"lifecycle policy {one.policy} cannot be read: {_describe_response(status, answer)}")
            await self._put_lifecycle(one, answer[one.policy]["policy"] if status == 200 else None)
        return Unsupported()

    async def _put_lifecycle(self, template: Template, existing: dict[str, Any] | None) -> None:
        name = f"lifecycle policy {template.policy}"
        days = lifecycle_policy.retention_days(existing) if existing is not None else None
        if existing is not None and days is None:
            self.messages.append(f"{name}: was changed by hand, left as it is")
        elif days == template.days:
            self.messages.append(f"{name}: is there already, deletes after {days} days")
        elif owner := await self._put(name, f"/_ilm/policy/{template.policy}", lifecycle_policy.body(template.days)):
            self.messages.append(f"{name}: deletes after {days} days, not {template.days}; {_managed_note(owner)}")
        else:
            before = f" (was {days})" if days else ""
            self.messages.append(f"{name}: put, deletes after {template.days} days{before}")

    async def _put(self, name: str, path: str, body: dict[str, Any]) -> str:
        """Put a thing; returns who alone may change it, where that is not us. Raises SetupError."""
        status, answer = await self._request("PUT", path, body)
        owner = index_template.managed_by(str(answer)) if status == 400 else ""
        if status != 200 and not owner:
            raise SetupError(f"{name} refused: {_describe_response(status, answer)}")
        return owner

    async def _put_template(self, template: Template, unsupported: Unsupported) -> Unsupported:
        stands = await self._read_template(template)
        if stands is not None and int(stands.get("version") or 0) > index_template.VERSION:
            self.messages.append(
                f"index template {template.name}: a newer crisp has put it (version {stands['version']}), left"
            )
            return unsupported
        name, current = f"index template {template.name}", f"version {index_template.VERSION}"
        wanted, unsupported = await self._supported_template(template, unsupported)
        differs = index_template.drift(stands, wanted) if stands is not None else []
        if stands is not None and not differs:
            self.messages.append(f"{name}: is there already, {current}")
        elif owner := await self._put(name, f"/_index_template/{template.name}?create=false", wanted):
            self.messages.append(
                f"{name}: differs from {current}: {_list_differences(differs)}; {_managed_note(owner)}"
            )
        elif stands is not None:
            self.messages.append(f"{name}: had drifted, put again, {current}: {_list_differences(differs)}")
        else:
            self.messages.append(f"{name}: put, {current}")
        return unsupported

    async def _supported_template(
        self, template: Template, unsupported: Unsupported
    ) -> tuple[dict[str, Any], Unsupported]:
        """The template as this server can take it: it is asked what it would make of it, which changes nothing."""
        for _ in range(_MAX_ATTEMPTS):
            wanted = index_template.body(template, self._settings, unsupported)
            status, answer = await self._request("POST", f"/_index_template/_simulate/{template.name}", wanted)
            if status == 200:
                return wanted, unsupported
            more = index_template.unsupported_features(str(answer))
            if status != 400 or not (more.types - unsupported.types or more.settings - unsupported.settings):
                raise SetupError(f"index template {template.name} refused: {_describe_response(status, answer)}")
            unsupported = Unsupported(unsupported.types | more.types, unsupported.settings | more.settings)
        raise SetupError(f"index template {template.name}: this server lacks too much: {sorted(unsupported.types)}")

    async def _read_template(self, template: Template) -> dict[str, Any] | None:
        status, answer = await self._request("GET", f"/_index_template/{template.name}?flat_settings=true")
        if status == 404:
            return None
        if status != 200:
            raise SetupError(f"index template {template.name} cannot be read: {_describe_response(status, answer)}")
        found: dict[str, Any] = answer["index_templates"][0]["index_template"]
        if not index_template.is_owned_by_crisp(found.get("_meta")):
            raise SetupError(f"an index template {template.name} is there that is not crisp's: rename or remove it")
        return found

    async def _check_precedence(self, template: Template) -> None:
        """A template of higher priority would take our indices, and nobody would see it before their first day."""
        index = template.patterns[0].replace("20*", "2099.01.01").rstrip("*")
        answer = await self._request_ok("POST", f"/_index_template/_simulate_index/{index}", None)
        mappings = answer.get("template", {}).get("mappings", {})
        if not index_template.is_owned_by_crisp(mappings.get("_meta")):
            others = ", ".join(entry["name"] for entry in answer.get("overlapping", ())) or "unknown"
            raise SetupError(
                f"index template {template.name} does not take the index {index}: another one has a priority above "
                f"{index_template.PRIORITY}; look at {others}"
            )

    async def _check_indices(self) -> None:
        """Say which indices keep an older mapping until their day is over, and which are not ours at all."""
        path = ",".join(index_template.index_patterns(self._settings))
        every = await self._request_ok("GET", f"/{path}/_settings?filter_path=*.settings.index.uuid", None)
        marked = await self._request_ok("GET", f"/{path}/_mapping?filter_path=*.mappings._meta", None)
        for index in sorted(every):
            meta = marked.get(index, {}).get("mappings", {}).get("_meta")
            if not index_template.is_owned_by_crisp(meta):
                self.messages.append(f"  index {index} is not crisp's: it is left alone, documents go beside it")
            elif meta.get("version") != index_template.VERSION:
                self.messages.append(f"  index {index} keeps the mapping of version {meta.get('version')}")

    async def _request_ok(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        status, answer = await self._request(method, path, body)
        if status != 200:
            raise SetupError(
                f"Elasticsearch refuses {method} {path.partition('?')[0]}: {_describe_response(status, answer)}"
            )
        return answer

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        try:
            answer = await self._client.perform_request(method, path, headers=_HEADERS, body=body)
        except ApiError as fault:
            return fault.status_code, fault.body
        except TransportError as fault:
            raise SetupError(f"Elasticsearch at {self._settings.es_urls} cannot be reached: {fault}") from fault
        return answer.meta.status, answer.body


def _managed_note(owner: str) -> str:
    return (
        f"left, since only Elasticsearch's {owner} may change it:"
        " do so in the StackConfigPolicy (with ECK), or in config/operator/settings.json"
    )


def _list_differences(differs: list[str]) -> str:
    more = f" and {len(differs) - _MAX_DIFFERENCES} more" if len(differs) > _MAX_DIFFERENCES else ""
    return ", ".join(differs[:_MAX_DIFFERENCES]) + more


def _describe_response(status: int, answer: Any) -> str:
    hint = f" (check ES_USER and ES_PASSWORD, or {env_name('es_api_key')})" if status in (401, 403) else ""
    return f"status {status}{hint}: {str(answer)[:500]}"
