from promptflow.core import ToolProvider, tool


class Greeter(ToolProvider):
    def __init__(self, greeting: str, times: int = 1):
        super().__init__()
        self.greeting = greeting
        self.times = times

    @tool
    def greet(self, name: str) -> str:
        return " ".join([self.greeting] * self.times + [name])
