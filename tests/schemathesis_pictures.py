"""What `st run` loads in tests/test_server_schema.py: no schema can say what a picture is, so those of the forms
that are meant to be accepted become real ones. Else hardly a question would ever be answered.
"""

import io
from typing import Any

import schemathesis
from PIL import Image

_FIELDS = ("image", "unlike_image")


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """A form that is meant to be accepted has pictures where it had text or bytes as one."""
    meant = case.meta is not None and case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
    if isinstance(case.body, dict) and meant:
        for field in _FIELDS:
            sent = case.body.get(field)
            if isinstance(sent, list):
                case.body[field] = [_picture(one, number) for number, one in enumerate(sent)]
            else:
                case.body.update({field: _picture(sent, 0)} if sent is not None else {})


def _picture(sent: Any, number: int) -> Any:
    """A small PNG; what is no text, and so must be refused, stays."""
    if not isinstance(sent, str | bytes):
        return sent
    written = io.BytesIO()
    Image.linear_gradient("L").resize((28 + number, 28)).save(written, "PNG")
    return written.getvalue()
