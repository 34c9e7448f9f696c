"""Text that somebody else wrote, as both databases can hold it."""


def clean(text: str) -> str:
    """Text that both databases take: without NUL, and without half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
