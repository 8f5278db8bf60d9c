"""Images out of Containerfiles: the language, the context, COPY, RUN, and the solver."""
