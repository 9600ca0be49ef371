"""Names that people give to what they declare in files: handoffs, process maps, mappings."""

from typing import Annotated

from msgspec import Meta

Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,63}$",
        description="small letters, digits and _, a letter first, at most 64 characters",
        examples=["unnamed"],
    ),
]
