"""From texts to logits to predictions: backends, scorer, predictor, calibration."""
