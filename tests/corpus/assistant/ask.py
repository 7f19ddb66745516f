from promptflow.contracts.types import AssistantDefinition
from promptflow.core import tool


@tool
def ask(assistant: AssistantDefinition, city: str):
    invoker = assistant._tool_invoker
    function = invoker.to_openai_tools()[1]["function"]
    return {
        "model": assistant.model,
        "function": function,
        "answer": invoker.invoke_tool(func_name="weather", kwargs={"city": city}),
    }
