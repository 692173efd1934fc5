"""Mutation testing of the guideline: every small change of what it says has to be noticed."""
