"""The spool: keeps batches on disk until the collector has them."""
