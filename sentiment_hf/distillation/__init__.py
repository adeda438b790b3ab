"""A large encoder becomes a small one, on unlabelled text: general distillation."""
