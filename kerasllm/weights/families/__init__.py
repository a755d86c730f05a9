"""Families of models that others published: for each its settings and one table of names, from ours to theirs."""
