"""Visual Transformers (arXiv 2006.03677): the last stage of a ResNet gives way to a few visual tokens."""
