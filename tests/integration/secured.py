"""A flow on servers with security."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pipeline.elasticsearch import roles
from pipeline.local.secured_stack import SUPERUSER, SecuredStack
from tests.integration.flow import Flow, eventually


class SecuredFlow(Flow):
    """Sends requests to Elasticsearch as its superuser; crisp's processes have their own users."""

    stack: SecuredStack

    def __init__(self, stack: SecuredStack, directory: Path, **extra: str) -> None:
        super().__init__(stack, directory, **extra)
        login = base64.b64encode(f"{SUPERUSER}:{stack.password}".encode()).decode()
        self._login = f"Basic {login}"
        self._context = ssl.create_default_context(cafile=str(stack.authority.certificate))

    def request(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
        """Send a request as the superuser."""
        return self._request(self._login, method, path, body)

    def _request(self, login: str, method: str | None, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.stack.es_url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": login},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._context) as response:
                result: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode())
            raise
        return result

    def add_user(self, role: str, password: str) -> str:
        """Add a user with one of crisp's roles only; returns the user's name."""
        name = f"{self.prefix}-{role}"
        self.stack.add_user(name, password, roles.all_roles(self.settings)[role])
        eventually(lambda: self._has_privileges(name, password), 15)
        return name

    def _has_privileges(self, name: str, password: str) -> bool:
        """The node loads the files of users and of roles separately: for a moment a user has a role that is unknown.

        The node then caches that it is: a look-up that ends while the file is loaded would leave it so for good.
        """
        try:
            privileges = self.as_user(name, password, "GET", "_security/user/_privileges")
        except urllib.error.HTTPError:
            return False
        known = bool(privileges["cluster"] or privileges["indices"])
        if not known:
            self.request(f"_security/role/{name}/_clear_cache", method="POST")
        return known

    def as_user(
        self, name: str, password: str, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a request as one of the users."""
        login = base64.b64encode(f"{name}:{password}".encode()).decode()
        return self._request(f"Basic {login}", method, path, body)
