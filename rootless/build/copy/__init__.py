"""COPY and ADD: what is selected, what key its content has, the layer it makes.

    plan.CopyStep       one instruction, expanded: sources, destination, owner, mode, …
    apply.digest        the key of what would be copied
    apply.apply         makes the layer and publishes it

Everything that touches files runs in a child in the user namespace and by descriptor.
"""
