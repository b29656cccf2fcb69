"""What every page of nd-deploy is made of: one HTML file that needs nothing but itself.

`document` is the whole with its style sheet, `markup` its pieces, `picture` what lies in it for a
light and for a dark screen, and `canvas` what draws that, which needs matplotlib.
"""
