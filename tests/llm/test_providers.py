"""The wire formats: the official SDKs and our providers are clients of the same server, and read the same."""

from __future__ import annotations

import anthropic
import openai
import pytest

from companyos.llm import RoutingError, RoutingPolicy
from companyos.plugins import Plugins
from companyos.testing.llm import Fault
from tests.llm.conftest import make_policy

ASKED = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Explain."}]


def ours(make_router, kind, *, streamed=False, **options):
    """Our completion, through one provider of a kind."""
    router = make_router((kind,))
    if not streamed:
        return router.route(ASKED, task="planning", temperature=0.5, **options)
    return list(router.stream(ASKED, task="planning", temperature=0.5, **options))[-1].completion


def test_chat_completions_are_read_as_the_sdk_reads_them(server, make_router):
    """Text, reason, model, id and counts of a whole answer and of a stream; what is asked is the same."""
    client = openai.OpenAI(base_url=server.url("openai"), api_key="k", max_retries=0)
    theirs = client.chat.completions.create(model="openai-model", messages=ASKED, max_tokens=400, temperature=0.5)
    parts = client.chat.completions.create(
        model="openai-model",
        messages=ASKED,
        max_tokens=400,
        temperature=0.5,
        stream=True,
        stream_options={"include_usage": True},
    )
    streamed = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    client.close()
    whole, flowing = ours(make_router, "openai"), ours(make_router, "openai", streamed=True)

    assert theirs.choices[0].message.content == whole.text == streamed == flowing.text
    assert (theirs.id, theirs.model) == (whole.response_id, whole.response_model)
    assert theirs.usage.prompt_tokens == whole.usage.input_tokens == flowing.usage.input_tokens
    assert theirs.usage.completion_tokens == whole.usage.output_tokens
    bodies = [seen.body for seen in server.requests("openai")]
    assert (bodies[0], bodies[1]) == (bodies[2], bodies[3])


def test_anthropic_messages_are_read_as_the_sdk_reads_them(server, make_router):
    """The same for Anthropic messages."""
    base = server.url("openai").removesuffix("/v1")
    client = anthropic.Anthropic(base_url=base, api_key="k", max_retries=0)
    options = {
        "model": "openai-model",
        "system": "Be short.",
        "messages": ASKED[1:],
        "max_tokens": 400,
        "temperature": 0.5,
    }
    body = {"extra_body": {"temperature": options.pop("temperature")}}
    theirs = client.messages.create(**options, **body)
    with client.messages.stream(**options, **body) as stream:
        streamed = stream.get_final_message()
    client.close()
    whole, flowing = ours(make_router, "anthropic"), ours(make_router, "anthropic", streamed=True)

    assert theirs.content[0].text == whole.text == streamed.content[0].text == flowing.text
    assert (theirs.id, theirs.model) == (whole.response_id, whole.response_model)
    assert theirs.usage.input_tokens == whole.usage.input_tokens == flowing.usage.input_tokens
    assert streamed.usage.output_tokens == flowing.usage.output_tokens
    bodies = [seen.body for seen in server.requests("openai")]
    assert (bodies[0], bodies[1]) == (bodies[2], bodies[3])


def test_responses_are_read_as_the_sdk_reads_them(server, make_router):
    """The same for the Responses API, at which nothing is stored."""
    client = openai.OpenAI(base_url=server.url("openai"), api_key="k", max_retries=0)
    theirs = client.responses.create(
        model="openai-model", input=ASKED, max_output_tokens=400, temperature=0.5, store=False
    )
    client.close()
    whole, flowing = (ours(make_router, "openai-responses", streamed=one) for one in (False, True))

    assert theirs.output_text == whole.text == flowing.text
    assert theirs.usage.output_tokens == whole.usage.output_tokens == flowing.usage.output_tokens
    bodies = [seen.body for seen in server.requests("openai")]
    assert bodies[0] == bodies[1]


def test_keys_are_read_at_each_use_and_never_shown(server, make_router, monkeypatch, tmp_path):
    """From the environment or a file, in the header of the format; an error that repeats it does not show it."""
    from companyos.llm import ModelRouter, RejectedError

    monkeypatch.setenv("TEST_LLM_KEY", "sk-very-secret")
    policy = make_policy(server).model_dump()
    policy["providers"]["openai"]["api_key"] = "env:TEST_LLM_KEY"
    (tmp_path / "key").write_text("file-secret\n")
    policy["providers"]["anthropic"]["api_key"] = f"file:{tmp_path / 'key'}"
    with ModelRouter(RoutingPolicy.parse(policy)) as router:
        router.route("Hi", task="planning")
        router.route("Hi", task="planning", without=("openai",))
        server.script("openai", Fault("status", status=400, code="sk-very-secret"))
        with pytest.raises(RejectedError) as caught:
            router.route("Hi", task="planning")

    assert server.requests("openai")[0].headers["authorization"] == "Bearer sk-very-secret"
    assert server.requests("anthropic")[0].headers["x-api-key"] == "file-secret"
    assert "sk-very-secret" not in str(caught.value)


def test_a_key_that_is_written_out_is_refused_and_not_shown(server):
    """What stands in the place of a reference may be the key itself."""
    policy = make_policy(server).model_dump()
    policy["providers"]["openai"]["api_key"] = "sk-written-out"

    with pytest.raises(RoutingError) as caught:
        RoutingPolicy.parse(policy)

    assert "sk-written-out" not in str(caught.value)


def test_a_known_providers_key_does_not_go_to_another_address():
    """`openai` at another URL gets no key unless the file names one for it."""
    models = {"models": {"planning": "m"}}
    parse = RoutingPolicy.parse
    tasks = {"task_types": {"planning": {"max_tokens": 10}}}
    known = parse({"providers": {"openai": models}} | tasks)
    moved = parse({"providers": {"openai": models | {"base_url": "https://example.com/v1"}}} | tasks)

    assert known.setting("openai").api_key == "env:OPENAI_API_KEY"
    assert moved.setting("openai").api_key is None


def test_a_plugin_brings_a_wire_format(server):
    """`companyos_llm_providers` adds a kind beside those built in, and the routing file may name it."""
    from companyos.hookspecs import hookimpl
    from companyos.llm import ModelRouter
    from companyos.llm.providers.openai import OpenAIProvider

    class Kind:
        name = "mine"

        @staticmethod
        def make(setting):
            return OpenAIProvider(setting)

    class Plugin:
        @staticmethod
        @hookimpl
        def companyos_llm_providers():
            return [Kind()]

    plugins = Plugins()
    plugins.register(Plugin(), "mine")
    kinds = plugins.llm_providers()

    assert ["anthropic", "mine", "openai", "openai-responses"] == sorted(kinds)
    with ModelRouter(make_policy(server, ("mine",)), kinds=kinds) as router:
        assert router.route("Hi", task="planning").text == server.text
    with pytest.raises(RoutingError, match="nobody knows"):
        ModelRouter(make_policy(server, ("mine",)))
