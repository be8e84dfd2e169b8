"""What the tests of the service share."""

import pytest
from web_service import random_network


@pytest.fixture(scope="session")
def network():
    return random_network()
