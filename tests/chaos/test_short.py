"""A few rows of the fault table in one run each; `make chaos` runs all of them with five seeds."""

from tests.chaos.rows_clients import test_a_client_that_leaves_takes_its_call_with_it
from tests.chaos.rows_machine import (
    test_a_full_disk_leaves_the_bundle_that_was_there,
    test_a_log_that_cannot_be_written_keeps_nobody_from_an_answer,
    test_a_port_that_is_taken_is_one_line_and_a_failure,
)
from tests.chaos.rows_replicas import test_a_stream_that_dies_ends_in_an_error_event

__all__ = [
    "test_a_client_that_leaves_takes_its_call_with_it",
    "test_a_full_disk_leaves_the_bundle_that_was_there",
    "test_a_log_that_cannot_be_written_keeps_nobody_from_an_answer",
    "test_a_port_that_is_taken_is_one_line_and_a_failure",
    "test_a_stream_that_dies_ends_in_an_error_event",
]
