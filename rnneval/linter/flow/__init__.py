"""An abstract interpreter that gathers the facts of a file once, for all rules. Nothing is imported or executed.

From the bottom up: `values` are what a variable may hold, `names` what is known by name, `facts` what rules are given
and the questions that they ask. `machine` holds the state of the interpreter; `expressions`, `calls` and `statements`
run the code, and `statements.gather` is the way in.
"""
