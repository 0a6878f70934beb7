"""Sparse DETR: a detector whose encoder updates only the tokens that its decoder will look at (arXiv 2111.14330).

A backbone's last maps become levels of tokens. A scoring network ranks the tokens; the encoder updates the best share
rho of them by deformable attention to all. The first stage turns the best tokens into queries, and the decoder refines
their boxes layer by layer. The scoring network learns to predict what the decoder's cross-attention reads.
Deformable DETR (arXiv 2010.04159) is the same network with every token updated.
"""
