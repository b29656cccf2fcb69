"""A measurement, and the bundle that it is of, as one HTML page that needs nothing but itself.

`whole` puts the page together, a module for each of its sections beside it; `charts` draws, which
needs matplotlib; `output` writes the file.
"""

from nd_deploy.report.page.whole import EXTRA, profile_page, report_page

__all__ = ["EXTRA", "profile_page", "report_page"]
