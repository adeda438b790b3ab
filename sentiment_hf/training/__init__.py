"""Fine-tuning: arguments, trainer, sampler, and the run that puts them together."""
