"""Text of a model, made legible: protobuf hands on bytes where a name is not UTF-8."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]


def make_legible(message: Any) -> None:
    """Replaces what is not UTF-8 in every text of a message, however deep, by U+FFFD.

    Args:
        message: A protobuf message; changed in place.
    """
    for field, value in message.ListFields():
        many = not hasattr(value, "ListFields") and not isinstance(value, (str, bytes))
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in value if many else (value,):
                make_legible(part)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if not many and isinstance(value, bytes):
                setattr(message, field.name, value.decode("utf-8", "replace"))
            elif many and any(isinstance(text, bytes) for text in value):
                value[:] = [
                    text.decode("utf-8", "replace") if isinstance(text, bytes) else text
                    for text in value
                ]
