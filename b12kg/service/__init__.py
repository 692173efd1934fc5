"""The guideline over HTTP: an API, its terms, CDS Hooks and SPARQL, as one ASGI application.

Owns what is particular to HTTP and to CDS Hooks: media types, limits, refusals, cards. What is answered is worked
out by the rows below. Takes the extra ``b12kg[serve]``; nothing outside of this package imports its modules but
the command line, when it serves.
"""
