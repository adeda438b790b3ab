"""Improve labels and training data: label errors, language-model judges, data augmentation."""
