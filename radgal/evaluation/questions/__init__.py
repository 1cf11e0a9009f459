"""What surveys and referees ask of a test: one module a question, each answered from the saved table of sources."""
