"""What dynml finds by the entry point."""

from dynml.models.registry import Family

FAMILY = Family(
    name="linear_steps",
    model_config="linear_steps.config:LinearStepsConfig",
    model="linear_steps.model:LinearSteps",
    write_inference="linear_steps.inference:write_inference",
    sampler_defaults={"window_length": 100, "batch_size_training": 8},
)
