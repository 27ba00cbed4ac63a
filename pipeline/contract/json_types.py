"""Types of JSON whose structure is another program's, or free: API objects, queries, documents."""

from typing import Any

JsonObject = dict[str, Any]
"""A JSON object as it is parsed or to be written. What crisp itself defines has a dataclass instead."""
