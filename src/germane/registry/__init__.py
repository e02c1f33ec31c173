"""What people and jobs did, one by one and only added to: votes, decisions, days, alerts; on SQLite or PostgreSQL."""

from germane.extras import needs

needs("web", "sqlalchemy", "alembic", by="the registry")  # whatever of it is wanted, and wherever it is asked for
