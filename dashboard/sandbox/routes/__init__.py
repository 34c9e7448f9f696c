"""The API (``partner``, ``servers``, ``data``), the pages for people (``people``) and the knobs (``control``)."""
