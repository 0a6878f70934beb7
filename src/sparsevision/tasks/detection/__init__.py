"""Detection: finding and counting objects in an image (DETR's set prediction)."""
