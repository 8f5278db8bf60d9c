"""The Dockerfile language: text in, typed instructions out.  Nothing here reads or writes.

``parse`` makes nodes with positions, ``instructions`` gives them types, ``expand`` puts in
variables, ``ignore`` reads .dockerignore, ``lint`` finds what is allowed and unwise.
The language is that of BuildKit's frontend (docs.docker.com/reference/dockerfile).
"""
