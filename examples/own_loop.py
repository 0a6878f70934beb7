"""SparseFormer in a training loop of your own: the paper's parameter groups, any data that gives tensors.

$ python examples/own_loop.py my_images
"""

from __future__ import annotations

import sys

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from sparsevision import create_model
from sparsevision.data.preprocessing import view
from sparsevision.tasks import open_dataset
from sparsevision.types import Preprocessing

EPOCHS, BATCH, SIZE = 3, 6, 96


def main(folder: str) -> None:
    photographs = open_dataset(folder, "train")
    preprocessing = Preprocessing(size=(SIZE, SIZE))
    records = [photographs.read(index) for index in range(len(photographs))]
    images = torch.stack([view(preprocessing, record.image)[0] for record in records])
    labels = torch.tensor([record.target for record in records])

    torch.manual_seed(0)
    model = create_model("sparseformer_nano", num_classes=len(photographs.classes))
    groups = [
        {"params": [parameter for _, parameter in group.parameters], "weight_decay": 0.05 if group.decay else 0.0}
        for group in model.parameter_groups()
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-3)
    for epoch in range(EPOCHS):
        for batch, targets in DataLoader(TensorDataset(images, labels), BATCH, shuffle=True):
            loss = F.cross_entropy(model(batch), targets)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
