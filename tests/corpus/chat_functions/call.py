from promptflow.connections import OpenAIConnection
from promptflow.core import tool
from promptflow.tools.openai import chat


@tool
def call(connection: OpenAIConnection, text: str):
    return chat(connection, "user:\nSay {{word}}", model="any", temperature=0, word=text)
