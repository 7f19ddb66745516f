def count(text: str, minimum: int = 1, note=None) -> dict:
    found = [word for word in text.split() if len(word) >= minimum]
    return {"n": len(found), "note": note}
