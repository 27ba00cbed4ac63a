"""Puts the worker's lifecycle policies and index templates into Elasticsearch. Idempotent.

Features that the server does not support are reported and omitted. Objects that others own or modified are never
overwritten silently.
"""

from typing import Any

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch import index_template, lifecycle_policy, requests
from pipeline.elasticsearch.index_template import Template, Unsupported
from pipeline.elasticsearch.requests import Response
from pipeline.errors import SetupError, UnavailableError

_MAX_ATTEMPTS = 8
_MAX_DIFFERENCES = 5
_MAY_CHANGE = (*requests.UNAUTHORIZED, *requests.OVERLOADED)
"""Responses of a server that is starting or overloaded, or where the user and the role are made later."""


class IndexSetup:
    """One run of setup on one Elasticsearch. `messages`: a line for each action or finding."""

    def __init__(self, client: AsyncElasticsearch, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self.messages: list[str] = []

    async def run(self) -> list[str]:
        """Put all objects; return the messages. Raises SetupError."""
        templates = index_template.all_templates(self._settings)
        unsupported = await self._put_lifecycles(templates)
        for template in templates:
            unsupported = await self._put_template(template, unsupported)
        for template in templates:
            await self._check_precedence(template)
        types = sorted(unsupported.types)
        self.messages += [f"  field type {name} not supported by this server: a plain type is used" for name in types]
        settings = sorted(unsupported.settings - {index_template.LIFECYCLE_SETTING})
        self.messages += [f"  setting {name} not supported by this server: omitted" for name in settings]
        await self._check_indices()
        return self.messages

    async def _put_lifecycles(self, templates: list[Template]) -> Unsupported:
        for template in templates:
            if not template.policy:
                continue
            response = await self._request("GET", f"/_ilm/policy/{template.policy}")
            if response.status == 405 or (response.status == 400 and "no handler" in str(response.body)):
                self.messages.append("lifecycle: not supported by this server: delete old indices by other means")
                return Unsupported(settings=frozenset({index_template.LIFECYCLE_SETTING}))
            if response.status not in (200, 404):
                raise SetupError(f"cannot read lifecycle policy {template.policy}: {requests.describe(response)}")
            existing = None
            if response.status == 200:
                existing = requests.read_member(response.body, dict, template.policy, "policy")
            await self._put_lifecycle(template, existing)
        return Unsupported()

    async def _put_lifecycle(self, template: Template, existing: JsonObject | None) -> None:
        name = f"lifecycle policy {template.policy}"
        days = lifecycle_policy.retention_days(existing) if existing is not None else None
        if existing is not None and days is None:
            self.messages.append(f"{name}: modified externally, not changed")
        elif days == template.days:
            self.messages.append(f"{name}: up to date, deletes after {days} days")
        elif owner := await self._put(name, f"/_ilm/policy/{template.policy}", lifecycle_policy.body(template.days)):
            self.messages.append(f"{name}: deletes after {days} days, not {template.days}; {_managed_note(owner)}")
        elif days:
            self.messages.append(f"{name}: updated, deletes after {template.days} days (was {days})")
        else:
            self.messages.append(f"{name}: created, deletes after {template.days} days")

    async def _put(self, name: str, path: str, body: JsonObject) -> str:
        """Put an object; return the feature that manages it if it is read-only, else empty. Raises SetupError."""
        response = await self._request("PUT", path, body)
        owner = index_template.managed_by(str(response.body)) if response.status == 400 else ""
        if response.status != 200 and not owner:
            raise SetupError(f"{name} rejected: {requests.describe(response)}")
        if not owner and requests.read_member(response.body, dict).get("acknowledged") is not True:
            raise SetupError(f"{name}: not acknowledged: {requests.describe(response)}")
        return owner

    async def _put_template(self, template: Template, unsupported: Unsupported) -> Unsupported:
        existing = await self._read_template(template)
        installed = existing.get("version") if existing is not None else None
        if existing is not None and isinstance(installed, int) and installed > index_template.VERSION:
            self.messages.append(
                f"index template {template.name}: of a newer crisp (version {existing['version']}), not changed"
            )
            return unsupported
        name, version = f"index template {template.name}", f"version {index_template.VERSION}"
        body, unsupported = await self._supported_template(template, unsupported)
        differences = index_template.drift(existing, body) if existing is not None else []
        if existing is not None and not differences:
            self.messages.append(f"{name}: up to date, {version}")
        elif owner := await self._put(name, f"/_index_template/{template.name}?create=false", body):
            self.messages.append(
                f"{name}: differs from {version}: {_list_differences(differences)}; {_managed_note(owner)}"
            )
        elif existing is not None:
            self.messages.append(f"{name}: differed, updated, {version}: {_list_differences(differences)}")
        else:
            self.messages.append(f"{name}: created, {version}")
        return unsupported

    async def _supported_template(self, template: Template, unsupported: Unsupported) -> tuple[JsonObject, Unsupported]:
        """Return the template without unsupported features, found by simulation: the server is not changed."""
        for _ in range(_MAX_ATTEMPTS):
            body = index_template.body(template, self._settings, unsupported)
            response = await self._request("POST", f"/_index_template/_simulate/{template.name}", body)
            if response.status == 200:
                requests.read_member(response.body, dict, "template")
                return body, unsupported
            more = index_template.unsupported_features(str(response.body))
            self._reject_user_settings(str(response.body), more)
            if response.status != 400 or not (more.types - unsupported.types or more.settings - unsupported.settings):
                raise SetupError(f"index template {template.name} rejected: {requests.describe(response)}")
            unsupported = Unsupported(unsupported.types | more.types, unsupported.settings | more.settings)
        raise SetupError(
            f"index template {template.name}: too many features not supported by this server: "
            f"{sorted(unsupported.types)}"
        )

    def _reject_user_settings(self, reason: str, unsupported: Unsupported) -> None:
        """Raise SetupError if the server does not support what a user has set: that is never omitted silently."""
        if index_template.is_about_mode(reason):
            raise SetupError(
                f"CRISP_INDEX_MODE={self._settings.index_mode}: this server does not support it: "
                "use Elasticsearch 8.17 or newer, or CRISP_INDEX_MODE=standard"
            )
        if names := sorted(unsupported.settings & index_template.user_settings(self._settings)):
            raise SetupError(f"CRISP_INDEX_SETTINGS: this server has no setting {', '.join(names)}")

    async def _read_template(self, template: Template) -> JsonObject | None:
        response = await self._request("GET", f"/_index_template/{template.name}?flat_settings=true")
        if response.status == 404:
            return None
        if response.status != 200:
            raise SetupError(f"cannot read index template {template.name}: {requests.describe(response)}")
        existing = index_template.read_installed(response.body)
        if not index_template.is_owned_by_crisp(existing.get("_meta")):
            raise SetupError(f"index template {template.name} exists and is not owned by crisp: rename or remove it")
        return existing

    async def _check_precedence(self, template: Template) -> None:
        """Check that no template of higher priority applies to crisp's indices, which would show only in new ones."""
        index = template.patterns[0].replace("20*", "2099.01.01").rstrip("*")
        response = await self._request_ok("POST", f"/_index_template/_simulate_index/{index}", None)
        mappings = requests.read_member(response, dict, "template").get("mappings", {})
        if not isinstance(mappings, dict):
            mappings = {}
        if not index_template.is_owned_by_crisp(mappings.get("_meta")):
            others = ", ".join(_names(response.get("overlapping"))) or "unknown"
            raise SetupError(
                f"index template {template.name} does not apply to the index {index}: another template has a priority "
                f"above {index_template.PRIORITY}; check {others}"
            )

    async def _check_indices(self) -> None:
        """Report indices that keep an older mapping until the next one is created, and those of other owners."""
        path = ",".join(index_template.index_patterns(self._settings))
        all_indices = await self._request_ok("GET", f"/{path}/_settings?filter_path=*.settings.index.uuid", None)
        mappings = await self._request_ok("GET", f"/{path}/_mapping?filter_path=*.mappings._meta", None)
        mappings_by_index = requests.read_objects(mappings)
        for index in sorted(requests.read_objects(all_indices)):
            meta = requests.read_objects(mappings_by_index.get(index, {})).get("mappings", {}).get("_meta")
            if not index_template.is_owned_by_crisp(meta):
                self.messages.append(f"  index {index} is not owned by crisp: documents go to another index")
            elif isinstance(meta, dict) and meta.get("version") != index_template.VERSION:
                self.messages.append(f"  index {index} keeps the mapping of version {meta.get('version')}")

    async def _request_ok(self, method: str, path: str, body: JsonObject | None) -> Any:
        response = await self._request(method, path, body)
        if response.status != 200:
            raise SetupError(f"Elasticsearch rejects {method} {path.partition('?')[0]}: {requests.describe(response)}")
        return response.body

    async def _request(self, method: str, path: str, body: JsonObject | None = None) -> Response:
        response = await requests.request(self._client, method, path, body)
        if response.status <= 0:
            raise UnavailableError(f"cannot connect to Elasticsearch at {self._settings.es_urls}: {response.body}")
        if response.status in _MAY_CHANGE:  # also of a gateway, whose server is starting
            raise UnavailableError(
                f"Elasticsearch rejects {method} {path.partition('?')[0]}: {requests.describe(response)}"
            )
        requests.require_own_form(response)
        return response


def _names(entries: object) -> list[str]:
    return [str(entry.get("name")) for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _managed_note(owner: str) -> str:
    return (
        f"not changed, since only Elasticsearch's {owner} may change it:"
        " change it in the StackConfigPolicy (with ECK), or in config/operator/settings.json"
    )


def _list_differences(differences: list[str]) -> str:
    more = f" and {len(differences) - _MAX_DIFFERENCES} more" if len(differences) > _MAX_DIFFERENCES else ""
    return ", ".join(differences[:_MAX_DIFFERENCES]) + more
