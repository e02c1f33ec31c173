"""Language models by name, through LangChain's model interface: "openai/o3", "anthropic/NAME", "vllm/NAME" and others."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from germane.types import InputError

PREFIX = "llm:"
OPENAI_URL = "OPENAI_BASE_URL"  # which OpenAI's own client reads too
SAMPLE = "sample"  # a recording that comes with germane


class Provider(NamedTuple):
    """Whose models. package: that holds LangChain's class. key: the variable with the key, "" for none. local: where it is
    served, if the address is left out. shape: "openai" for what speaks OpenAI's protocol.
    """

    package: str
    cls: str
    key: str
    local: str = ""
    shape: str = ""


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider("langchain_openai", "ChatOpenAI", "OPENAI_API_KEY", shape="openai"),
    "anthropic": Provider("langchain_anthropic", "ChatAnthropic", "ANTHROPIC_API_KEY"),
    "google": Provider("langchain_google_genai", "ChatGoogleGenerativeAI", "GOOGLE_API_KEY"),
    "mistral": Provider("langchain_mistralai", "ChatMistralAI", "MISTRAL_API_KEY"),
    "vllm": Provider("langchain_openai", "ChatOpenAI", "", "http://localhost:8000/v1", "openai"),
    "ollama": Provider("langchain_openai", "ChatOpenAI", "", "http://localhost:11434/v1", "openai"),
    "compatible": Provider("langchain_openai", "ChatOpenAI", "", "", "openai"),
}


@dataclass(frozen=True)
class Model:
    """A model and how it writes: with the prompt, all that decides a reply.

    temperature: None leaves it to the model, as reasoning models ask for. most: tokens that a reply may have. effort: of
    reasoning models ("low", "medium", "high"). structured: "schema" binds replies by a JSON schema (OpenAI's
    response_format), "tool" by a forced tool call, "text" asks in words alone. extra: what the provider's class takes besides.

    >>> Model.named("llm:openai/o3").provider, Model.named("llm:vllm/Qwen/Qwen3-4B").name
    ('openai', 'Qwen/Qwen3-4B')
    """

    provider: str
    name: str
    temperature: float | None = None
    most: int = 1024
    effort: str | None = None
    structured: str = "schema"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str, **options: Any) -> Model:
        """The model that `--judge llm:PROVIDER/NAME` names. Raises: InputError for another form, and unknown providers."""
        provider, slash, model = name.removeprefix(PREFIX).partition("/")
        known = ", ".join((*PROVIDERS, SAMPLE))
        if not (slash and provider and re.fullmatch(r"[\w.:@/+-]{1,200}", model)):
            raise InputError(f"{name!r} names no model: expected llm:PROVIDER/MODEL, as llm:openai/o3; providers: {known}")
        if provider not in PROVIDERS and provider != SAMPLE:
            raise InputError(
                f"{name!r}: there is no provider {provider!r}: known are {known}; a server of OpenAI's shape is "
                "llm:compatible/MODEL with --url"
            )
        usual = "schema" if provider == SAMPLE or PROVIDERS[provider].shape else "tool"
        return cls(provider, model, **{"structured": usual, **options})

    @property
    def thinks(self) -> bool:
        """Whether the model is known to reason before it writes, which takes tokens and is paid for."""
        name = self.name.rpartition("/")[2].lower()
        return self.effort is not None or bool(re.match(r"o\d|gpt-5|.*(thinking|-r1|qwq)", name))

    def __str__(self) -> str:
        return f"{PREFIX}{self.provider}/{self.name}"

    @property
    def decides(self) -> list[Any]:
        """What of it decides a reply, for keys and fingerprints."""
        extra = sorted(self.extra.items())
        return [self.provider, self.name, self.temperature, self.most, self.effort, self.structured, extra]


def host(url: str) -> str:
    """Scheme, host and port of an address, without user, password, path and whatever stands in a query.

    Raises: InputError for what is no address of a server; it is not said again, since it may hold a password.

    >>> host("http://me:secret@localhost:8000/v1")
    'http://localhost:8000'
    """
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        name, port = "", None
    if not name or parts.query or parts.scheme not in ("http", "https"):
        raise InputError("--url is no address of a server: expected one as http://localhost:8000/v1")
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}{'' if port is None else f':{port}'}"


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked. url: of a server of OpenAI's shape, up to and with /v1. key_env: the variable with its key."""

    url: str | None = None
    key_env: str | None = None

    def host(self, model: Model) -> str:
        """Scheme, host and port, without login and path; the provider's name where it is the provider's own."""
        return host(self.address(model)) if self.place(model) else model.provider

    def place(self, model: Model) -> str:
        """The address without login, "" where it is the provider's own: what is said at another one is kept apart.

        Raises: InputError for an address with a login in it, which no client would send beside a key.
        """
        url = self.address(model)
        if not url:
            return ""
        found = host(url)
        if "@" in urlsplit(url).netloc:
            what = "--url" if self.url else OPENAI_URL
            raise InputError(f"{what} holds a login: put the key into an environment variable, and name that with --key-env")
        return f"{found}{urlsplit(url).path.rstrip('/')}"

    def address(self, model: Model) -> str:
        """Where the model is asked, "" for the provider's own address. Of OpenAI's models also as OPENAI_BASE_URL says."""
        if self.url or model.provider not in PROVIDERS:
            return self.url or ""
        said = os.environ.get(OPENAI_URL, "").strip() if model.provider == "openai" else ""
        return said or PROVIDERS[model.provider].local

    def key(self, model: Model) -> str:
        """The key, or "" where none is needed. Raises: InputError saying which variable to set, and what to do without one."""
        variable = self.key_env or PROVIDERS[model.provider].key
        found = os.environ.get(variable, "").strip() if variable else ""
        if not found.isascii() or not found.isprintable():
            raise InputError(f"the key in {variable} holds what cannot be sent (a line's end, or a letter that is not ASCII)")
        if self.url and not self.key_env:
            return found  # a server of one's own may need none
        if variable and not found:
            raise InputError(
                f"{model} needs a key in the environment variable {variable}, and that is empty. Without a key: a model on a "
                "server of your own (llm:vllm/MODEL --url http://localhost:8000/v1, for example "
                "`vllm serve Qwen/Qwen3-4B-Instruct-2507`), or `germane label --sample DIR`, which walks the whole path on a "
                "recorded sample"
            )
        return found


def chat(model: Model, endpoint: Endpoint, *, timeout: float, client: Any = None) -> Any:
    """LangChain's chat model, without tries of its own: germane counts them. client: an async HTTP client to be used.

    Raises: InputError for a missing package or key, and where the class does not take what it is given.
    """
    of = PROVIDERS[model.provider]
    installed(model)
    key = endpoint.key(model)
    url = endpoint.address(model)
    if of.shape and not url and model.provider != "openai":
        raise InputError(f"{model}: where is it? give --url, as http://localhost:8000/v1")
    if url:
        endpoint.host(model)  # says what is wrong with it
    options: dict[str, Any] = {"model": model.name, "timeout": timeout, "max_retries": 0, **model.extra}
    if model.temperature is not None:
        options["temperature"] = model.temperature
    if of.shape:
        options |= {"api_key": key or "none", "include_response_headers": True}
        if model.provider == "openai":  # servers of one's own know the older name, which LangChain does not send
            options["max_completion_tokens"] = model.most
        options |= {"use_responses_api": False, "stream_usage": False}
        options |= {name: value for name, value in (("base_url", url), ("http_async_client", client)) if value}
        if model.effort:
            options["reasoning_effort"] = model.effort
    else:
        options |= {"api_key": key, "max_tokens": model.most}
        if model.effort:
            raise InputError(f"--effort is for models of OpenAI's shape, and {model} is none: leave it out")
    try:
        return getattr(importlib.import_module(of.package), of.cls)(**options)
    except (TypeError, ValueError) as problem:
        raise InputError(f"{model}: {_without(str(problem), key)[:300]}") from None


def installed(model: Model) -> None:
    """Raises: InputError where the package of a model's provider is missing."""
    of = PROVIDERS[model.provider]
    if find_spec(of.package) is None:
        extra = "'germane[llm]'" if of.shape else of.package.replace("_", "-")
        raise InputError(f"{model} needs {of.package}: pip install {extra}")


def _without(text: str, key: str) -> str:
    plain = " ".join(text.split())
    return plain.replace(key, "***") if key else plain
