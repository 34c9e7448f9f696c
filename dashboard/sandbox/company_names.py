"""Names from which made-up customers, people and connections are put together."""

ODD_NAMES = (
    "Bäckerei Größenwahn GmbH",
    "O'Malley & Sons “Quality” Ltd",
    "<script>alert(1)</script> NV",
    "شركة المثال للتجارة",
    "Pizzeria 🍕 Volante",
    "Ünïcode Søn ApS",
    "=SUM(A1:A9) Consulting",
)
FIRST_WORDS = (
    "Amber", "Blue", "Cedar", "Delta", "Ember", "Fjord", "Golden", "Harbour", "Iris", "Juniper",
    "Kite", "Lumen", "Maple", "North", "Opal", "Pine", "Quartz", "River", "Silver", "Tulip",
    "Umber", "Violet", "Willow", "Zephyr",
)  # fmt: skip
SECOND_WORDS = (
    "Bikes", "Logistics", "Foods", "Dental", "Studio", "Garage", "Textiles", "Books", "Optics",
    "Farms", "Clinics", "Travel", "Robotics", "Flowers", "Timber", "Coffee",
)  # fmt: skip
LEGAL_FORMS = ("BV", "NV", "GmbH", "Ltd", "SARL", "ApS")
GIVEN_NAMES = (
    "Amélie", "Bram", "Chiara", "Dries", "Esra", "Femke", "Goran", "Hanne", "İpek", "Jonas",
    "Kaat", "Leïla",
)  # fmt: skip
CONNECTION_PURPOSES = ("production", "main", "Benelux", "webshop", "archive")
COUNTRIES = ("BE", "NL", "DE", "FR", "GB", "DK")
