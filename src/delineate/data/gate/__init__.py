"""The gate: what is wrong with a data set, before anything is trained on it.

`facts` reads every file once, `checks` lists the checks, `run` puts both together, `report` shows what was
found, `picture` draws it, and `groups` keeps look-alikes together.
"""

from delineate.data.gate.checks import CHECKS
from delineate.data.gate.groups import look_alike_groups
from delineate.data.gate.picture import picture
from delineate.data.gate.report import CheckReport, Finding
from delineate.data.gate.run import check_cases

__all__ = ["CHECKS", "CheckReport", "Finding", "check_cases", "look_alike_groups", "picture"]
