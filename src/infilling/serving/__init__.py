"""The web page and the REST server."""
