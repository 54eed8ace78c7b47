# cython: cdivision=True
# Step sizes eta_t, t = 1, 2, ...

from libc.math cimport pow

cdef enum Schedule:
    CONSTANT, OPTIMAL, INVSCALING, ADAPTIVE, PA1, PA2

cdef struct StepRule:
    Schedule schedule
    double eta0         # adaptive: the present step, lowered between epochs; pa1, pa2: the aggressiveness C
    double power_t
    double alpha
    double t0           # optimal: Bottou's offset, 1 / (alpha a) with a = alpha^(-1/4)


cdef inline double step_size(const StepRule* rule, double t) noexcept nogil:
    if rule.schedule == OPTIMAL:
        return 1 / (rule.alpha * (rule.t0 + t - 1))
    if rule.schedule == INVSCALING:
        return rule.eta0 / pow(t, rule.power_t)
    return rule.eta0


cdef inline double passive_aggressive(const StepRule* rule, double loss, double norm) noexcept nogil:
    """The factor of dL/dz that just repairs the loss of a row with ||x||^2 = norm (Crammer 2006, section 4)."""
    if norm == 0 and rule.schedule == PA1:
        return 0.0
    if rule.schedule == PA1:
        return min(rule.eta0, loss / norm)
    return loss / (norm + 0.5 / rule.eta0)
