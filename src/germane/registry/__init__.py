"""What people did, one by one and only added to: accounts, tasks, votes, decisions; SQLite, or PostgreSQL by one setting."""
