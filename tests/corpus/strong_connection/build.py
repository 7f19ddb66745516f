from promptflow.connections import CustomStrongTypeConnection
from promptflow.contracts.types import Secret
from promptflow.core import tool


class HouseConnection(CustomStrongTypeConnection):
    api_key: Secret
    api_base: str = "http://default"


@tool
def build(connection: HouseConnection, path: str) -> str:
    return f"{connection.api_base}/{path}?key={connection.api_key}"
