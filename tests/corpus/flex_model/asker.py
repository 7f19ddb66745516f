from pathlib import Path

from promptflow.core import OpenAIModelConfiguration, Prompty

FOLDER = Path(__file__).parent


class Asker:
    def __init__(self, model_config: OpenAIModelConfiguration):
        self.prompty = Prompty.load(source=FOLDER / "ask.prompty", model={"configuration": model_config})

    def __call__(self, question: str) -> str:
        return self.prompty(question=question)
