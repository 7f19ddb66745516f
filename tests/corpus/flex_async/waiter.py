import asyncio


class Waiter:
    async def __call__(self, text: str) -> str:
        await asyncio.sleep(0)
        if text == "bad":
            raise ValueError("cannot wait")
        return text.upper()
