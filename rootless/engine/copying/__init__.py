"""The two ends of ``rl cp``: one reads files into a tar stream, the other makes them of it.

Each runs where its files are: in a process inside the container, or here with the caller's
rights.  Nothing but the stream passes between them, and neither trusts it.
"""
