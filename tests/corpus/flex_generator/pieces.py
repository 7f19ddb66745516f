def pieces(text: str):
    for part in text.split():
        yield part + " "
