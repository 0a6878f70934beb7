"""SparseFormer: an image as a few dozen tokens that decide where to look (arXiv 2304.03768).

Tokens, each an embedding and a region of interest, sample a few points of an early feature map (Eqs. 2 and 3), decode
what they read (Eqs. 4 to 6) and adjust their regions (Eqs. 7 to 9). The *focusing* unit does so several times with the
same weights; the *cortex* does it once more and goes on as a plain transformer over the tokens. The bootstrapped models
of arXiv 2312.01987 are the same parts in another order, with a class token and an encoding of the regions.
"""
