"""What the gates decide by: gathered from the store, the registry and history.

May import: promotion's gates and history, lineage, serving, and what lineage may.
"""
