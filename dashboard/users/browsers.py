"""Which browser asks, in a few words. They are ours alone: what a browser says of itself is anybody's text."""

# The first that fits: most browsers name others, too.
BROWSERS = (
    ("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
SYSTEMS = (
    ("iPhone", "an iPhone"), ("iPad", "an iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"), ("Windows", "Windows"),
    ("Mac OS X", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def in_words(agent: str) -> str:
    """Of the header User-Agent: “Firefox on Linux”."""
    browser = next((words for mark, words in BROWSERS if mark in agent), "Another browser")
    system = next((words for mark, words in SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if system else browser
