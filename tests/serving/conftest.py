"""Tiny models of each kind that the page shows, and the page itself, once for all tests."""

from types import SimpleNamespace

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "ray" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.skip(reason="starts a cluster, with time limits of its own; ask with -m ray"))


@pytest.fixture(scope="session")
def page_folders(tmp_path_factory, make_model, tokenizer):
    """Folders of saved tiny models: `sentence`, `article` (chunks) and `review` (ASAP's aspects with stars)."""
    import torch

    from sentiment_hf.data.tokenization import TextSettings
    from sentiment_hf.modeling.classifier import classifier_config, load_classifier
    from sentiment_hf.modeling.config_io import record_settings
    from sentiment_hf.tasks import BUILT_IN_TASKS, AspectTask, aspect_columns
    from sentiment_hf.training.folder import save_model

    folder = tmp_path_factory.mktemp("page")
    torch.manual_seed(0)
    aspects = AspectTask(aspect_columns(None), "ordinal")
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    overrides = {**size, "max_position_embeddings": 64, "initializer_range": 0.3}
    review = load_classifier("scratch", classifier_config("scratch", aspects, tokenizer, config_overrides=overrides))
    sliding = TextSettings(max_length=24, truncation="sliding", stride=6)
    for name, model, task, settings in (
        ("sentence", make_model(), BUILT_IN_TASKS["reviews"], TextSettings(max_length=32)),
        ("article", make_model(seed=1), BUILT_IN_TASKS["reviews"], sliding),
        ("review", review, aspects, TextSettings(max_length=64)),
    ):
        record_settings(model.config, tokenizer, task, settings)
        save_model(folder / name, model, tokenizer)
    return SimpleNamespace(**{name: str(folder / name) for name in ("sentence", "article", "review")})


@pytest.fixture(scope="session")
def page_models(page_folders):
    from sentiment_hf.serving.page.models import PageModels

    return PageModels.load(page_folders.sentence, page_folders.article, page_folders.review)


@pytest.fixture(scope="session")
def page_address(page_models):
    """The page on loopback, with all four tabs."""
    pytest.importorskip("gradio", reason="needs the demo extra")
    from sentiment_hf.serving.page.app import launch_page
    from sentiment_hf.verbs.serve import bind

    # Tests may run beside others that look for a port at the same time.
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
    address, page = launch_page(
        page_models, server_name="127.0.0.1", server_port=port, quiet=True, prevent_thread_lock=True
    )
    yield address.rstrip("/")
    page.close()
