"""What people and jobs did, one by one and only added to: votes, decisions, days, alerts; SQLite, or PostgreSQL by a setting."""

from germane.extras import needs

needs("web", "sqlalchemy", "alembic", by="the registry")  # whatever of it is wanted, and wherever it is asked for
