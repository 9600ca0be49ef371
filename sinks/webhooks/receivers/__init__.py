"""The receivers, one a file: each turns an alert into the request that tells of it."""
