"""Fixtures of the learning room."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small networks gain nothing from a second thread, and lose much where the machine is busy."""
    torch.set_num_threads(1)
