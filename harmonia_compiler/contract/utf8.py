"""Whether what this machine has handed over is text, which every document and every answer is written in."""


def is_utf8(value: str) -> bool:
    """Whether an argument, a variable or a name is text; bytes that were none are in it as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
