"""Which task an untagged prompt is: transparent rules as data, and a labelled set that says how good they are."""

from companyos.llm.tasks.classifier import Classification, Classifier, TaskRulesError
from companyos.llm.tasks.labelled import Example, is_held_out, labelled_set

__all__ = ("Classification", "Classifier", "Example", "TaskRulesError", "is_held_out", "labelled_set")
