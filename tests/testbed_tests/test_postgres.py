"""The PostgreSQL of the testbed, where the machine has one."""

from __future__ import annotations

import pytest
import sqlalchemy

from tests.testbed import postgres
from tests.testbed.site import temporary

pytestmark = pytest.mark.skipif(postgres.programs() is None, reason="no PostgreSQL is installed")


def test_it_serves_a_database_and_ends_with_its_site() -> None:
    with temporary("postgres") as site:
        engine = sqlalchemy.create_engine(postgres.start(site))
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE numbers (number int)"))
            connection.execute(sqlalchemy.text("INSERT INTO numbers VALUES (3)"))
            assert connection.execute(sqlalchemy.text("SELECT number FROM numbers")).scalar() == 3
            limit = connection.execute(sqlalchemy.text("SHOW idle_in_transaction_session_timeout")).scalar()
            assert limit == "20s"  # what a killed process has locked is free again then
        engine.dispose()
        (server,) = site.processes
        assert server.alive
    assert not server.alive
    assert not site.folder.exists()
