"""The trainer: one loop, checkpoints, the run folder and logs. It knows neither data sets nor networks by name."""
