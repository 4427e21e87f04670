"""The policy that a deployment names: `PENGUIFLOW_POLICIES=policy`, and its file in the plugin's options."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from penguiflow_policy._policy import Policy

_HOW = (
    "in the file that PENGUIFLOW_CONFIG names, write file = 'routing.yaml' under [plugins.options.policy], "
    "or env = 'NAME' for a variable that holds it"
)


class Options(BaseModel):
    """What a deployment may set, in the table `[plugins.options.policy]`.

    Attributes:
        file: The policy's file: YAML, JSON or TOML. A relative path counts from the working directory.
        env: Instead of a file, the variable that holds the policy.
        shadow: The file of a candidate that decides beside it without effect.
        reload: Whether the files are watched.
        observe: Whether error rates are counted even though no rule needs them yet.
        force_polling: Look at the files again and again, instead of being told by the system.
    """

    model_config = ConfigDict(extra="forbid")

    file: str | None = None
    env: str | None = None
    shadow: str | None = None
    reload: bool = True
    observe: bool = False
    force_polling: bool | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) == (self.env is None):
            wrong = "nothing says where the policy is" if self.file is None else "file and env are two policies"
            raise PydanticCustomError("source", "{text}", {"text": f"{wrong}: {_HOW}"})
        return self


def plugin(options: Options) -> Policy:
    """What the entry point names: makes the policy of one flow."""
    settings = {"reload": options.reload, "observe": options.observe, "force_polling": options.force_polling}
    if options.env is not None:
        policy = Policy.from_env(options.env, **settings)
    else:
        policy = Policy.from_file(options.file or "", **settings)
    if options.shadow is not None:
        policy.shadow(Policy.from_file(options.shadow, **settings))
    return policy
