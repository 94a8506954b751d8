"""access: who may look."""
