"""A launcher of sweeps whose jobs do not poison each other."""

from collections.abc import Sequence
from typing import NamedTuple

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from configs.errors import ConfigError, translate


class Unusable(NamedTuple):
    """What the task gets instead of a configuration that could not be composed."""

    overrides: list[str]
    error: ConfigError


class PatientLauncher(BasicLauncher):
    """Hydra's basic launcher: one job after another in this process. A job whose configuration cannot be composed is
    handed to the task as `Unusable`, and the sweep goes on."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return [self._launch_one(list(job), initial_job_idx + index) for index, job in enumerate(job_overrides)]

    def _launch_one(self, job: list[str], index: int) -> JobReturn:
        try:
            return super().launch([job], index)[0]
        except (HydraException, OmegaConfBaseException) as error:
            assert self.task_function is not None
            value = self.task_function(Unusable(job, translate(error)))
            return JobReturn(overrides=job, status=JobStatus.COMPLETED, _return_value=value)
