"""The probe of PostgreSQL on a primary and its real standby, whose replay is held back."""

import psycopg

from support.processes.backends import replicated
from support.processes.probing import read
from support.processes.servers import wait_for
from trimtab_agent.probes.postgresql import PostgresqlProbe

LAG = "postgresql.replication.lag"
DELAY = "postgresql.replication.data_delay"
STANDBYS = "postgresql.replication.standbys"


def test_a_standby_that_falls_behind_shows_on_both_sides() -> None:
    with (
        replicated() as (primary, standby),
        psycopg.connect(primary.dsn, autocommit=True) as writer,
        psycopg.connect(standby.dsn, autocommit=True) as other,
    ):
        there, here = PostgresqlProbe(primary.dsn, 0.0), PostgresqlProbe(standby.dsn, 0.0)
        try:
            writer.execute("CREATE TABLE things (x text)")
            wait_for(lambda: read(here).gauges.get(LAG) == 0, "the standby to have caught up")
            wait_for(lambda: read(there).gauges.get(DELAY) == 0, "the primary to know")
            found = read(there).gauges
            assert found[STANDBYS] == 1
            assert found[LAG] < 5
            assert STANDBYS not in read(here).gauges
            other.execute("SELECT pg_wal_replay_pause()")
            writer.execute(
                "INSERT INTO things SELECT repeat('x', 1000) FROM generate_series(1, 2000)"
            )
            wait_for(lambda: read(there).gauges[DELAY] > 2e6, "the delay on the primary")
            wait_for(lambda: read(here).gauges[LAG] > 0.2, "the lag on the standby")
            other.execute("SELECT pg_wal_replay_resume()")
            wait_for(lambda: read(here).gauges[LAG] == 0, "the standby to catch up")
            wait_for(lambda: read(there).gauges[DELAY] == 0, "the primary to know of it")
        finally:
            there.close()
            here.close()
