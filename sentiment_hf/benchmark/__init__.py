"""How fast a model is beside what people use: the same texts, threads and labels, in turns, in one run."""
