"""The networks: Table 1 of the paper as a specification (`table1`), one builder, and what a network costs."""

from models.builder import Backbone, build
from models.counting import count_parameters, multiply_adds, output_values
from models.table1 import TABLE1, Column

__all__ = ["TABLE1", "Backbone", "Column", "build", "count_parameters", "multiply_adds", "output_values"]
