"""Labels get better: wrong ones found, judged and mended, hard cases explained and multiplied."""
