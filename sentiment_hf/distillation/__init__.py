"""General distillation: distill a large encoder into a small one on unlabelled text."""
