import pytest

from sentiment_hf.training.sampler import EpochSampler

LABELS = [0] * 90 + [1] * 9 + [2]


def drawn(sampler, epoch=0, **options):
    order = EpochSampler(100, 8, seed=1, labels=LABELS, sampler=sampler, **options)
    order.set_epoch(epoch)
    rows = list(order)
    assert len(rows) == len(order)
    return rows


def test_every_row_once_without_a_sampler():
    assert sorted(drawn("none")) == list(range(100))


def test_weighted_draws_every_class_as_often():
    rows = [row for epoch in range(30) for row in drawn("weighted", epoch)]
    for label in range(3):
        share = sum(LABELS[row] == label for row in rows) / len(rows)
        assert share == pytest.approx(1 / 3, abs=0.04)


def test_downsample_takes_as_many_of_each_class_and_others_next_time():
    rows = drawn("downsample")
    assert sorted(LABELS[row] for row in rows) == [0, 1, 2]
    seen = {row for epoch in range(40) for row in drawn("downsample", epoch) if LABELS[row] == 1}
    assert seen == set(range(90, 99))


@pytest.mark.parametrize("sampler", ["none", "weighted", "downsample"])
def test_an_epoch_is_a_function_of_seed_and_epoch(sampler):
    assert drawn(sampler, 3) == drawn(sampler, 3)
    assert drawn(sampler, 3) != drawn(sampler, 4)


@pytest.mark.parametrize("sampler", ["weighted", "downsample"])
def test_grouping_by_length_keeps_what_was_drawn(sampler):
    lengths = [5 + row % 17 for row in range(100)]
    assert sorted(drawn(sampler, lengths=lengths)) == sorted(drawn(sampler))


def test_a_sampler_of_classes_needs_labels():
    with pytest.raises(ValueError, match="needs labels"):
        EpochSampler(3, 2, 0, sampler="weighted")
