"""How a plan is carried on: a pure function of the plan, what is recorded of its steps, and the time.

`tree` knows the plan's shape, `resolving` puts values in, `turn` carries steps out, `abandoning` undoes them.
"""
