"""The spool: keeps batches on disk until the collector has them."""

from trimtab_agent.spool.spool import Spool, SpooledBatch, SpoolStats

__all__ = ["Spool", "SpoolStats", "SpooledBatch"]
