"""What a benchmark of a GPU looks at of a run."""

from benchmarks.gpu_extraction import rate_in_the_middle


def test_a_rate_is_that_of_the_middle_of_a_run():
    starting = [(0.0, 0.0), (9.0, 1.0)]
    working = [(10.0 + number, 2.0 + number) for number in range(7)]  # one a second
    ending = [(50.0, 9.0), (90.0, 10.0)]
    assert rate_in_the_middle([*starting, *working, *ending]) == 1.0
