"""Target `slurm`: a job whose steps are the replicas, the gateway and the controller.

What a person types is `actuator.py`, what the batch script becomes `head.py`, what each step runs `step.py` and
`front.py`. They share nothing but the files that `folder.py` describes, which all nodes see, and Slurm's own
commands.
"""

from harmonia_compiler.runtime.actuators.slurm.actuator import Slurm

ACTUATOR = Slurm()
