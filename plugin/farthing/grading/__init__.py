"""Grading: how much model a task needs. Grade v1 is rule based."""

from farthing.grading.grade import Grade, GradeName, Grader
from farthing.grading.lines import grade_lines
from farthing.grading.rules import RuleGrader
from farthing.grading.task import Task, task_from

__all__ = ["Grade", "GradeName", "Grader", "RuleGrader", "Task", "grade_lines", "task_from"]
