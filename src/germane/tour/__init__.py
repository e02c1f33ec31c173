"""The whole story on a simulated marketplace, from golden votes to an alert: `germane tour`. Read `story` first."""
