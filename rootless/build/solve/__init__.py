"""From typed stages to images: the graph, the cache, what each instruction changes."""
