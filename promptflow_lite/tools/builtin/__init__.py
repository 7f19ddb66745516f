"""Package tools that come with this package, under the ids of the original's `promptflow-tools`."""

from __future__ import annotations

from typing import Any

_PACKAGE = __name__

_CHAT_CONNECTIONS = ["AzureOpenAIConnection", "OpenAIConnection", "ServerlessConnection"]
_SENSITIVITY = {
    "type": ["string"],
    "default": "medium_sensitivity",
    "enum": ["disable", "low_sensitivity", "medium_sensitivity", "high_sensitivity"],
}
_LLM_PROMPT = "# system:\nYou are a helpful assistant.\n\n# user:\n{{question}}\n"
_VISION_PROMPT = "# system:\nYou answer questions about images.\n\n# user:\nWhat is shown?\n![image]({{image_input}})\n"


def _inputs(**types: str) -> dict[str, dict[str, Any]]:
    """Inputs by name; a type may be followed by `=` and a default."""
    rows = {name: text.partition("=") for name, text in types.items()}
    return {
        name: {"type": [kind], **({"default": value} if is_set else {})} for name, (kind, is_set, value) in rows.items()
    }


_SAMPLING = _inputs(temperature="double=1", top_p="double=1", stop="list", max_tokens="int", seed="int")
_PENALTIES = _inputs(presence_penalty="double", frequency_penalty="double")
_VISION_INPUTS = {
    **_SAMPLING,
    **_PENALTIES,
    "detail": {"type": ["string"], "default": "auto", "enum": ["auto", "low", "high"]},
}

_TOOLS: dict[str, dict[str, Any]] = {
    "promptflow.tools.llm.llm": {
        "name": "LLM",
        "type": "custom_llm",
        "description": "Chat or complete with a model of OpenAI, Azure or a compatible server.",
        "module": f"{_PACKAGE}.llm_functions",
        "function": "llm",
        "default_prompt": _LLM_PROMPT,
        "inputs": {
            "connection": {"type": _CHAT_CONNECTIONS},
            "api": {"type": ["string"], "default": "chat", "enum": ["chat", "completion"]},
            **_inputs(deployment_name="string", model="string"),
            **_SAMPLING,
            **_PENALTIES,
            **_inputs(response_format="object", logit_bias="object", tools="list", tool_choice="object"),
            **_inputs(suffix="string", logprobs="int", echo="bool=False", best_of="int=1"),
        },
    },
    "promptflow.tools.aoai_gpt4v.AzureOpenAI.chat": {
        "name": "Azure OpenAI vision",
        "type": "custom_llm",
        "description": "Ask a vision model on Azure OpenAI about images.",
        "module": f"{_PACKAGE}.vision",
        "class_name": "AzureOpenAI",
        "function": "chat",
        "default_prompt": _VISION_PROMPT,
        "inputs": {
            "connection": {"type": ["AzureOpenAIConnection"]},
            **_inputs(deployment_name="string"),
            **_VISION_INPUTS,
        },
    },
    "promptflow.tools.openai_gpt4v.OpenAI.chat": {
        "name": "OpenAI vision",
        "type": "custom_llm",
        "description": "Ask a vision model of OpenAI about images.",
        "module": f"{_PACKAGE}.vision",
        "class_name": "OpenAI",
        "function": "chat",
        "default_prompt": _VISION_PROMPT,
        "inputs": {"connection": {"type": ["OpenAIConnection"]}, **_inputs(model="string"), **_VISION_INPUTS},
    },
    "promptflow.tools.llm_vision.llm_vision": {
        "name": "LLM vision",
        "type": "custom_llm",
        "description": "Ask a vision model about images.",
        "module": f"{_PACKAGE}.vision",
        "function": "llm_vision",
        "default_prompt": _VISION_PROMPT,
        "inputs": {
            "connection": {"type": ["AzureOpenAIConnection", "OpenAIConnection"]},
            **_inputs(deployment_name="string", model="string"),
            **_VISION_INPUTS,
        },
    },
    "promptflow.tools.embedding.embedding": {
        "name": "Embedding",
        "type": "python",
        "description": "The vector of a text.",
        "module": f"{_PACKAGE}.embedding",
        "function": "embedding",
        "inputs": {
            "connection": {"type": _CHAT_CONNECTIONS},
            **_inputs(deployment_name="string", model="string=text-embedding-ada-002", input="string"),
        },
    },
    "promptflow.tools.serpapi.SerpAPI.search": {
        "name": "Serp API",
        "type": "python",
        "description": "Search the web through SerpAPI.",
        "module": f"{_PACKAGE}.serpapi",
        "class_name": "SerpAPI",
        "function": "search",
        "inputs": {
            "connection": {"type": ["SerpConnection"]},
            **_inputs(query="string", location="string", num="int=10"),
            "engine": {"type": ["string"], "default": "google", "enum": ["google", "bing"]},
            "safe": {"type": ["string"], "default": "off", "enum": ["active", "off"]},
        },
    },
    "promptflow.tools.azure_content_safety.analyze_text": {
        "name": "Content Safety (Text Analyze)",
        "type": "python",
        "description": "Detect harmful text with Azure AI Content Safety.",
        "module": f"{_PACKAGE}.content_safety",
        "function": "analyze_text",
        "deprecated_tools": ["content_safety_text.tools.content_safety_text_tool.analyze_text"],
        "inputs": {
            "connection": {"type": ["AzureContentSafetyConnection"]},
            **_inputs(text="string"),
            "hate_category": _SENSITIVITY,
            "sexual_category": _SENSITIVITY,
            "self_harm_category": _SENSITIVITY,
            "violence_category": _SENSITIVITY,
        },
    },
    "promptflow.tools.open_model_llm.OpenModelLLM.call": {
        "name": "Open Model LLM",
        "type": "custom_llm",
        "description": "Ask an open model on an endpoint that a custom connection describes.",
        "module": f"{_PACKAGE}.open_model_llm",
        "class_name": "OpenModelLLM",
        "function": "call",
        "default_prompt": _LLM_PROMPT,
        "inputs": {
            "endpoint_name": {"type": ["string"]},
            **_inputs(deployment_name="string", temperature="double=1.0", max_new_tokens="int=500", top_p="double=1.0"),
            "api": {"type": ["string"], "default": "chat", "enum": ["chat", "completion"]},
            "model_kwargs": {"type": ["object"], "default": {}},
        },
    },
}


def builtin_tools() -> dict[str, dict[str, Any]]:
    """Tool id -> metadata, as a `package_tools` entry point gives it."""
    return {tool_id: {**metadata, "is_builtin": True} for tool_id, metadata in _TOOLS.items()}
