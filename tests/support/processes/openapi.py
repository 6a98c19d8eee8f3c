"""The OpenAPI document as a client reads it."""

from typing import Any

__all__ = ["parameters_of"]


def parameters_of(document: Any, operation: Any) -> list[Any]:
    """Return the parameters of an operation, those that it shares with others among them."""
    shared = document["components"]["parameters"]
    return [
        shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for each in operation["parameters"]
    ]
