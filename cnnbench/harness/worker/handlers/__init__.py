"""What a worker does for each request; one module a subject, one function a request."""
