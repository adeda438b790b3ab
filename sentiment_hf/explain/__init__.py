"""Explanations of single predictions: attributions, how they are shown, and faithfulness."""
