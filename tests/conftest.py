"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is the machine's; a test is judged by what it finds.
settings.register_profile("andon", deadline=None)
settings.load_profile("andon")


@pytest.fixture
def shared_data() -> Path:
    """Real data beside the project; the test is skipped where it is not."""
    folder = Path(os.environ.get("ANDON_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the real data folder ({folder}); ANDON_SHARED_DATA names another place")
    return folder
