"""What several tests start from."""

import models
import pytest


@pytest.fixture
def model():
    return models.network()


@pytest.fixture
def calib():
    return models.samples()
