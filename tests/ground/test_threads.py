import threading
import time

import pytest

from koniq.ground.threads import ahead, each, threads


def test_results_come_in_order_and_no_more_than_count_are_on_their_way():
    begun, taken, most = [], [], 0

    def work(number):
        begun.append(number)
        time.sleep(0.01 * (number % 3))
        return number

    with threads(3) as pool:
        for result in ahead(pool, work, range(20), 5):
            most = max(most, len(begun) - len(taken))
            taken.append(result)
    assert taken == list(range(20))
    assert most <= 5


def test_each_goes_row_by_row_in_order():
    assert list(each(2, lambda first, second: (first, second), [1, 2, 3], "abc")) == [(1, "a"), (2, "b"), (3, "c")]
    assert list(each(2, str, [])) == []


def test_the_first_error_ends_it_and_what_was_not_begun_never_is():
    begun, go_on = [], threading.Event()

    def work(number):
        begun.append(number)
        if number == 1:
            raise ValueError("the second")
        if number > 1:
            go_on.wait(5)
        return number

    results = each(2, work, range(100))
    assert next(results) == 0
    go_on.set()
    with pytest.raises(ValueError, match="the second"):
        next(results)
    assert len(begun) < 100
