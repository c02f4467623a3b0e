"""What an entity's id may be: 1 to 64 visible characters."""

LONGEST = 64

# No control, format or bidirectional characters.
PATTERN = (
    r"^[^\x00-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb]+$"
)
