"""Pictures of what D does: its spectrum in every layer, and its kernels in the first one.

Numbers come first and need numpy alone (`spectrum`, `kernels`, `whitening`, `image_kernels`); what
reads them from a network (`network`) needs PyTorch, what reads images (`images`) needs Pillow and
what draws (`charts`, `kernel_charts`) needs matplotlib. `page` makes the HTML, `report` the folder.
"""
