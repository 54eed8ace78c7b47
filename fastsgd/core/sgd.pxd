# One pass of a run, for the kernels beside sgd that make passes.

from libc.stdint cimport uint32_t

from .adaptive cimport Adaptive
from .job cimport Bounds, Job
from .losses cimport Loss
from .state cimport Settings, State, Totals


cdef Job open_job(Loss loss, Settings settings, State state, const uint32_t[::1] order, Bounds bounds,
                  Py_ssize_t width, const double[::1] sample_weight, Py_ssize_t K, double* scratch)
cdef void open_rule(Adaptive* a, Settings settings)
cdef void close_job(Job* job, State state, Totals totals)
