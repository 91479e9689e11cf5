"""Every answered evaluation, and what was asked, held against the schemas of the Authorization API 1.0.

The schemas beside this file are written from the specification's text, and always count. Where the published ones are
at hand, single requests and responses are held against those too.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
OURS = Path(__file__).parent / "schemas"
PUBLISHED = ROOT.parent / "shared" / "conformance" / "authzen"
ENTITIES = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}
PATHS = ("/access/v1/evaluation", "/access/v1/evaluations")


@cache
def schema(name, directory=OURS):
    """A validator by the name of its file."""
    text = (directory / f"{name}.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def validate(kind, value):
    """Hold a single `evaluation-request` or `evaluation-response` against the schemas that there are."""
    for directory in (OURS, PUBLISHED):
        if directory == OURS or directory.is_dir():
            schema(kind, directory).validate(value)


def check_exchange(path, asked, answered):
    """Hold a request that was answered, and its answer, against the schemas.

    Raises:
        jsonschema.ValidationError: one of them is none of the specification's.
    """
    if path == PATHS[1] and asked.get("evaluations"):
        _check_batch(asked, answered)
    else:
        validate("evaluation-request", asked)
        validate("evaluation-response", answered)


def check_response(response):
    """The same for an exchange over HTTP, as a hook of httpx; anything but a decision is passed over."""
    if response.status_code == 200 and urlsplit(str(response.request.url)).path in PATHS:
        response.read()
        check_exchange(
            urlsplit(str(response.request.url)).path, json.loads(response.request.content), json.loads(response.content)
        )


def _check_batch(asked, answered):
    schema("evaluations-response").validate(answered)
    answers = answered["evaluations"]
    assert len(answers) <= len(asked["evaluations"])
    good = []
    for item, answer in zip(asked["evaluations"], answers, strict=False):
        validate("evaluation-response", answer)
        # One that is malformed has an error of its own, and the rest of the batch is answered.
        if "error" not in answer["context"]:
            good.append(item)
            validate("evaluation-request", _completed(asked, item))
    if good:
        schema("evaluations-request").validate({**asked, "evaluations": good})


def _completed(asked, item):
    """An evaluation of a batch with the defaults of its request."""
    merged = {**{name: asked[name] for name in (*ENTITIES, "context") if name in asked}, **item}
    for name, required in ENTITIES.items():
        if name in asked and name in item:
            merged[name] = {**{key: asked[name][key] for key in required if key in asked[name]}, **item[name]}
    return merged
