"""The pages of the service: a patient, the answer and its reasons, the guideline, its source, queries and cohorts.

Each page is written on the server from what the guideline's graph says; a template knows no guideline.
"""
