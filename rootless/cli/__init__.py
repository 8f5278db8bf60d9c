"""From the words typed to a Request, and from results to what is shown."""
