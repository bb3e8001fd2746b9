"""Grading: how much model a task needs."""

from farthing.grading.grade import GRADES, Grade, GradeName, Grader
from farthing.grading.lines import grade_lines
from farthing.grading.task import Task, task_from

__all__ = ["GRADES", "Grade", "GradeName", "Grader", "Task", "grade_lines", "task_from"]
