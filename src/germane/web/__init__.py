"""Pages for people: judging, adjudication, and what an owner sees. Rendered on the server; they work without JavaScript."""
