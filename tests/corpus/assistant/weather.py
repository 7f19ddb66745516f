from promptflow.core import tool


@tool
def weather(city: str, unit: str, days: int = 1) -> str:
    """Tell the weather.

    :param city: Name of the city.
    :param unit: Unit of the temperature.
    :param days: How many days ahead.
    """
    return f"{city}: 20 {unit}, {days}"
