"""b12kg: a clinical guideline as an executable graph.

>>> import b12kg
>>> b12kg.__version__
'0.1.0'
"""

__version__ = "0.1.0"
