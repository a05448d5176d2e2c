"""One more process in a running container."""
