from dataclasses import replace

import pytest
import torch

from tests.train.runs import UNCHANGED
from train.config import TranslatorConfig
from train.data.window_draws import WindowDraws
from train.model.augment import FeatureAugment
from train.model.translator import SemanticTranslator, mean_of_past
from train.task import Window


def translator(dim=64, width=16, **options):
    torch.manual_seed(0)
    augment = FeatureAugment(options.pop("augment", UNCHANGED))
    start_rms = options.pop("start_rms", 1.0)
    config = TranslatorConfig(**options)
    return SemanticTranslator(dim, width, config, start_rms=start_rms, augment=augment)


def draws_for(*lengths):
    windows = [
        Window(sample=0, start=0, stop=rows, seed=rows + k) for k, rows in enumerate(lengths)
    ]
    return WindowDraws(windows, torch.device("cpu"))


def test_tokens_are_one_linear_map_of_standardised_features():
    model = translator(3, 2)
    model.set_statistics(torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 4, 8]))
    features = torch.tensor([[[3.0, 6, 11], [1, 2, 3]]])
    expected = torch.stack([model.linear.weight.sum(dim=1), torch.zeros(2)])
    torch.testing.assert_close(model(features), expected[None])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_first_tokens_have_the_scale_of_the_llm_whatever_the_features(scale):
    model = translator(512, 64, start_rms=0.13)
    features = scale * (torch.randn(4, 100, 512) + 5)
    model.set_statistics(features.mean(dim=(0, 1)), features.std(dim=(0, 1)))
    rms = model(features).detach().square().mean().sqrt()
    assert float(rms) == pytest.approx(0.13, rel=0.05)


def test_grid_rows_are_pooled_to_one_token():
    model = translator()
    features = torch.randn(2, 5, 7, 64)
    torch.testing.assert_close(model(features), model(features.mean(dim=2)))


def test_statistics_belong_to_the_state_but_are_not_trained():
    model = translator()
    assert {"mean_D", "std_D"} <= model.state_dict().keys()
    assert {name for name, _ in model.named_parameters()} == {"linear.weight", "linear.bias"}


def test_augmentation_acts_in_training_only():
    model = translator(augment=replace(UNCHANGED, noise_std=0.5, feature_dropout=0.2))
    features = torch.randn(1, 6, 64)
    assert not torch.equal(model(features, draws_for(6)), model(features))
    assert torch.equal(model(features), model(features))


def test_dropped_dimensions_are_dropped_in_the_whole_window():
    augment = FeatureAugment(replace(UNCHANGED, feature_dropout=0.5))
    dropped = augment(torch.ones(2, 9, 400), draws_for(9, 9))
    assert torch.equal(dropped, dropped[:, :1].expand(-1, 9, -1))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert float((dropped == 0).float().mean()) == pytest.approx(0.5, abs=0.06)


def test_noise_has_the_deviation_asked_for():
    noisy = FeatureAugment(replace(UNCHANGED, noise_std=0.3))(
        torch.zeros(2, 100, 100), draws_for(100, 100)
    )
    assert float(noisy.std()) == pytest.approx(0.3, rel=0.02)


def test_a_shift_is_the_same_in_the_whole_window_and_another_in_the_next():
    shifted = FeatureAugment(replace(UNCHANGED, shift_std=0.3))(
        torch.zeros(2, 9, 4000), draws_for(9, 9)
    )
    assert torch.equal(shifted, shifted[:, :1].expand(-1, 9, -1))
    assert not torch.equal(shifted[0], shifted[1])
    assert float(shifted[:, 0].std()) == pytest.approx(0.3, rel=0.05)


def test_a_token_averages_its_row_and_those_before_it():
    values = torch.tensor([[[1.0], [2], [6], [10]]])
    expected = torch.tensor([[[1.0], [1.5], [3], [6]]])  # 1, (1+2)/2, (1+2+6)/3, (2+6+10)/3
    torch.testing.assert_close(mean_of_past(values, 3), expected)


def test_pooling_looks_at_no_later_row():
    model = translator(pool_rows=3)
    features = torch.randn(1, 6, 64)
    changed = features.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(model(features)[:, :4], model(changed)[:, :4])


def test_every_token_gets_the_scale_that_was_asked_for():
    tokens = translator(token_rms=2.0)(torch.randn(2, 5, 64))
    rms = tokens.detach().square().mean(dim=-1).sqrt()
    torch.testing.assert_close(rms, torch.full_like(rms, 2.0), rtol=1e-4, atol=0)
