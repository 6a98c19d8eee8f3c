"""The payments of the shop: Starlette, with metrics of its own by trimtab."""
