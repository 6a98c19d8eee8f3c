"""`trimtab top`: what a collector knows about now, in a terminal; it asks the API over HTTP.

It needs nothing of the collector but what asks it, so a machine with the extra `cli` is enough.
"""
