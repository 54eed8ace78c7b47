from typing import Any, ClassVar

from numpy.typing import ArrayLike

class Loss:
    name: ClassVar[str]
    convex: ClassVar[bool]
    joint: ClassVar[bool]
    targets: ClassVar[str]
    followed: ClassVar[bool]
    def value(self, z: ArrayLike, t: ArrayLike) -> Any: ...
    def gradient(self, z: ArrayLike, t: ArrayLike) -> Any: ...
    def _follow(self, z: float, t: float, s: float, q: float) -> float: ...

class EpsilonLoss(Loss):
    epsilon: float
    def __init__(self, epsilon: float = 0.1) -> None: ...
