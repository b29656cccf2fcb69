"""REST: routes, what a connection may take, and the server's life."""
