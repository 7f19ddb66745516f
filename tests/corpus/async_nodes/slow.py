import asyncio

from promptflow.core import tool


@tool
async def slow(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()
