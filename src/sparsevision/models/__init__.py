"""The networks, one folder a family, and the table of them.

A new family is a folder and an entry in `registry.FAMILIES`: a network built from one frozen configuration
(`network.py`), named models with preprocessing and weights (`variants.py`), and, where there are files of others or
published costs, `state_dict.py` and `published.py`. `tests/model_checks.py` has what its models owe their users.
"""
